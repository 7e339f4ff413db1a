//! `public-key`: the public half of a key, for others.

use std::path::PathBuf;

use tedge_p11_client::Uri;

use crate::output::pem;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{file, pins};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The public key is a SubjectPublicKeyInfo in PEM, as openssl reads it.

Examples:
  tedge-hsm public-key --uri 'pkcs11:token=device;object=tls' --output tls.pub
  tedge-hsm public-key | openssl pkey -pubin -noout -text")]
pub(crate) struct Args {
    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// File to write the public key to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let key = store.public_key(args.uri.as_ref(), pin.as_ref())?;
    let pem = pem("PUBLIC KEY", key.spki())?;
    file::write_or_print(args.output.as_deref(), &pem)
}
