//! `enroll`: a device that its cloud does not know yet gets its certificate, and the bridge its configuration.

use crate::enroll::cloud::Cloud;
use crate::enroll::options::Options;
use crate::enroll::{self, aws, azure, est};
use crate::keys::Keys;
use crate::place::Place;
use crate::store::Store;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Enrol the device with its cloud: from a token to a certificate and the bridge's configuration

One step after the other is looked at and, if it is not done yet, done: the key is made if it is not there and the
signer's policy lets this user make it, the certificate is asked for and put in its place, the device is registered, the
bridge is configured, and a connection is tried. Each step is recorded beside the certificate before it is taken: run
the same command again, and it goes on. docs/enrolment.md has more.",
    after_help = "\
Examples:
  tedge-hsm enroll est --est https://ca.example --user NAME --password-file FILE
  tedge-hsm enroll aws --endpoint ID-ats.iot.REGION.amazonaws.com --template NAME \\
    --parameter SerialNumber=%m --bootstrap-cert claim.pem --bootstrap-key claim.key
  tedge-hsm enroll azure --id-scope 0ne00A1B2C3"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    with: With,
}

#[derive(Debug, clap::Subcommand)]
enum With {
    /// Any CA that speaks EST (RFC 7030)
    Est(Box<est::Args>),
    /// AWS IoT Core, by fleet provisioning with a claim certificate
    Aws(Box<aws::Args>),
    /// Azure IoT Hub, by the Device Provisioning Service and a certificate that is there already
    Azure(Box<azure::Args>),
}

impl Args {
    pub(crate) fn user_pin(&mut self) -> &mut UserPin {
        let options = match &mut self.with {
            With::Est(args) => &mut args.options,
            With::Aws(args) => &mut args.options,
            With::Azure(args) => &mut args.options,
        };
        &mut options.user_pin
    }
}

pub(crate) fn run(store: &Store, place: &Place, args: &Args) -> anyhow::Result<()> {
    let keys = Keys { store, place };
    let run = |cloud: &dyn Cloud, options: &Options| enroll::run(cloud, keys, options);
    match &args.with {
        With::Est(args) => run(&est::Est::new(args)?, &args.options),
        With::Aws(args) => run(&aws::Aws::new(args), &args.options),
        With::Azure(args) => run(&azure::Azure::new(args), &args.options),
    }
}
