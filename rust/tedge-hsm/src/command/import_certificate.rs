//! `import-certificate`: puts a certificate beside its key on the token.

use std::path::PathBuf;

use tedge_p11_client::{Uri, read_certificates};

use crate::output::say;
use crate::pins;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The certificate must be for that key. It gets the id and the label of the key, so that other programs find both \
together. Its URI is printed. A certificate that was there before is removed after the new one is written. The same \
certificate again changes nothing.

Examples:
  tedge-hsm import-certificate --uri 'pkcs11:token=device;object=tls' --cert device.pem")]
pub(crate) struct Args {
    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// PEM or DER file with the certificate; in a chain, it is the first one
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let chain = read_certificates(&args.cert)?;
    Ok(say(store.import_certificate(
        args.uri.as_ref(),
        pin.as_ref(),
        &chain[0],
    )?)?)
}
