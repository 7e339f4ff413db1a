//! `export-certificate`: a certificate from the token, as a file.

use std::path::PathBuf;

use tedge_p11_client::Uri;

use crate::file;
use crate::output::pem;
use crate::store::Store;
use crate::uri_parser::UriParser;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The certificate is written in PEM. No PIN is needed.

Examples:
  tedge-hsm export-certificate --uri 'pkcs11:token=device;object=tls' --output device.pem
  tedge-hsm export-certificate | openssl x509 -noout -subject -enddate")]
pub(crate) struct Args {
    /// URI of the certificate or of its key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// File to write the certificate to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(store: &Store, mut args: Args) -> anyhow::Result<()> {
    args.uri.iter_mut().for_each(|uri| uri.pin = None);
    let der = store.certificate(args.uri.as_ref())?;
    let pem = pem("CERTIFICATE", &der)?;
    file::write_or_print(args.output.as_deref(), &pem)
}
