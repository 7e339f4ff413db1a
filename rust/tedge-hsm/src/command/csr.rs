//! `csr`: a certificate signing request that the key on the token signs.

use std::path::PathBuf;

use tedge_p11_client::Uri;
use x509_cert::ext::pkix::name::GeneralName;

use crate::names::{self, Names};
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{certificate, document, file, pins};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The request is a PKCS#10 in PEM. It asks for the usages of a TLS client: clientAuth and digitalSignature.

Examples:
  tedge-hsm csr --common-name device-1 --output device.csr
  tedge-hsm csr --uri 'pkcs11:token=device;object=tls' --common-name device-1 --san DNS:device-1.lan
  tedge-hsm csr --renew device.pem --output device.csr")]
pub(crate) struct Args {
    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Common name of the subject: the device's id
    #[arg(long, value_name = "NAME", required_unless_present = "renew")]
    common_name: Option<String>,

    /// Organisation of the subject
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,

    /// Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated
    #[arg(long, value_name = "NAME", value_parser = names::parse)]
    san: Vec<GeneralName>,

    /// Take the names from this certificate; it must be for the same key
    #[arg(long, value_name = "CERT", conflicts_with_all = ["common_name", "organization", "san"])]
    renew: Option<PathBuf>,

    /// With --renew: the certificate may be for another key
    #[arg(long, requires = "renew")]
    new_key: bool,

    /// File to write the request to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let renewed = match &args.renew {
        Some(path) => certificate::read_chain(path)?.into_iter().next(),
        None => None,
    };
    let key = store.private_key(args.uri.as_ref(), pin)?;
    let names = match &renewed {
        Some(certificate) => {
            if !args.new_key {
                certificate.check_key(key.as_ref())?;
            }
            certificate.names()?
        }
        None => {
            let common_name = args.common_name.unwrap_or_default();
            Names::new(&common_name, args.organization.as_deref(), args.san)?
        }
    };
    let request = document::request(key.as_ref(), names)?;
    file::write_or_print(args.output.as_deref(), &request)
}
