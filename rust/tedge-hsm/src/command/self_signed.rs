//! `self-signed`: a certificate that the key on the token issues for itself.

use std::path::PathBuf;
use std::time::Duration;

use tedge_p11_client::Uri;
use x509_cert::ext::pkix::name::GeneralName;

use crate::names::{self, Names};
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{document, file, pins};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The certificate is written in PEM. Use it with a server that is told to trust this one device, or for tests.

Examples:
  tedge-hsm self-signed --common-name device-1 --output device.pem
  tedge-hsm self-signed --uri pkcs11:object=tls --common-name device-1 --days 3650 --as-ca")]
pub(crate) struct Args {
    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Common name of the subject: the device's id
    #[arg(long, value_name = "NAME")]
    common_name: String,

    /// Organisation of the subject
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,

    /// Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated
    #[arg(long, value_name = "NAME", value_parser = names::parse)]
    san: Vec<GeneralName>,

    /// Days of validity, from now on
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,

    /// Set CA:TRUE, which Cumulocity IoT demands of a certificate that it is to trust
    #[arg(long)]
    as_ca: bool,

    /// File to write the certificate to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let key = store.private_key(args.uri.as_ref(), pin)?;
    let names = Names::new(&args.common_name, args.organization.as_deref(), args.san)?;
    let valid_for = Duration::from_secs(u64::from(args.days) * 24 * 60 * 60);
    let certificate = document::self_signed(key.as_ref(), names, valid_for, args.as_ca)?;
    file::write_or_print(args.output.as_deref(), &certificate)
}
