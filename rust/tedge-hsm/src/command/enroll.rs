//! `enroll`: a device that its cloud does not know yet gets its certificate, and the bridge its configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::enroll::cloud::Cloud;
use crate::enroll::options::Options;
use crate::enroll::{self, aws, azure, cumulocity, est};
use crate::keys::Keys;
use crate::place::Place;
use crate::proxy::RunBy;
use crate::refused;
use crate::settings_file::SettingsFile;
use crate::store::Store;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    long_about = "\
Enrol the device with its cloud: from a token to a certificate and the bridge's configuration

One step after the other is looked at and, if it is not done yet, done: the key is made if it is not there and the
signer's policy lets this user make it, the certificate is asked for and put in its place, the device is registered, the
bridge is configured, and a connection is tried. Each step is recorded beside the certificate before it is taken: run
the same command again, and it goes on. docs/enrolment.md has more.",
    after_help = "\
Examples:
  tedge-hsm enroll est --est https://ca.example --user NAME --password-file FILE
  tedge-hsm enroll cumulocity --url example.cumulocity.com --device-id device-1
  tedge-hsm enroll aws --endpoint ID-ats.iot.REGION.amazonaws.com --template NAME \\
    --parameter SerialNumber=%m --bootstrap-cert claim.pem --bootstrap-key claim.key
  tedge-hsm enroll azure --id-scope 0ne00A1B2C3"
)]
pub(crate) struct Args {
    /// File with CLOUD=, such as cumulocity, and OPTIONS=, which root alone may write, as tedge-hsm-enroll.service has it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    #[command(subcommand)]
    with: Option<With>,
}

#[derive(Debug, clap::Subcommand)]
enum With {
    /// Any CA that speaks EST (RFC 7030)
    Est(Box<est::Args>),
    /// Cumulocity's own CA
    Cumulocity(Box<cumulocity::Args>),
    /// AWS IoT Core, by fleet provisioning with a claim certificate
    Aws(Box<aws::Args>),
    /// Azure IoT Hub, by the Device Provisioning Service and a certificate that is there already
    Azure(Box<azure::Args>),
}

impl With {
    fn options(&self) -> &Options {
        match self {
            Self::Est(args) => &args.options,
            Self::Cumulocity(args) => &args.options,
            Self::Aws(args) => &args.options,
            Self::Azure(args) => &args.options,
        }
    }
}

impl Args {
    pub(crate) fn user_pin(&mut self) -> Option<&mut UserPin> {
        let options = match self.with.as_mut()? {
            With::Est(args) => &mut args.options,
            With::Cumulocity(args) => &mut args.options,
            With::Aws(args) => &mut args.options,
            With::Azure(args) => &mut args.options,
        };
        Some(&mut options.user_pin)
    }

    /// The file that has the cloud and the options.
    pub(crate) fn settings(&self) -> Option<&Path> {
        self.settings.as_deref()
    }
}

/// The words that the settings in `path` stand for.
pub(crate) fn options(path: &Path) -> anyhow::Result<Vec<String>> {
    let settings = SettingsFile::read(path, &["CLOUD", "OPTIONS"])?;
    let cloud = settings
        .get("CLOUD")
        .with_context(|| format!("{} does not set CLOUD", path.display()))?;
    let options = settings.get("OPTIONS").unwrap_or_default();
    let options = options.split_ascii_whitespace().map(str::to_owned);
    Ok(std::iter::once(cloud.to_owned()).chain(options).collect())
}

pub(crate) fn run(store: &Store, place: &Place, args: &Args, run_by: RunBy) -> anyhow::Result<()> {
    let keys = Keys { store, place };
    let Some(with) = &args.with else {
        bail!("which cloud? est, cumulocity, aws or azure; or name a file by --settings");
    };
    let proxies = with.options().proxy.settings(run_by)?;
    let run = |cloud: &dyn Cloud, options: &Options| enroll::run(cloud, keys, options, &proxies);
    let enrolled = match with {
        With::Est(args) => run(&est::Est::new(args, proxies.clone())?, &args.options),
        With::Cumulocity(args) => run(&cumulocity::Cumulocity::new(args)?, &args.options),
        With::Aws(args) => run(&aws::Aws::new(args), &args.options),
        With::Azure(args) => run(&azure::Azure::new(args), &args.options),
    };
    enrolled.map_err(|error| match run_by {
        RunBy::Unit => refused::given_up(error),
        RunBy::Person => error,
    })
}
