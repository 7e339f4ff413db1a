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
The certificate gets the id and the label of its key, so that other programs find the two together, and its URI \
is printed. It must be for that key. A certificate that is there already is replaced once the new one is \
written; the same one again changes nothing.

Examples:
  tedge-hsm import-certificate --uri 'pkcs11:token=device;object=tls' --cert device.pem")]
pub(crate) struct Args {
    /// URI of the key; the one configured at the signer without
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// PEM or DER file with the certificate; of a chain, the first one is taken
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
