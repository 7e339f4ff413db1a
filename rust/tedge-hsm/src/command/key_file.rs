//! `key-file`: a PEM file that stands for a key, where programs want a key file.

use std::path::PathBuf;

use tedge_p11_client::Uri;
use x509_cert::der::asn1::Any;
use x509_cert::der::{Encode as _, Tag};

use crate::output::pem;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{file, pins};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file holds the key's URI and no secret. OpenSSL's pkcs11-provider reads it wherever a program wants a key file in PEM:
curl --key, nginx, mosquitto, Python's ssl. Start the program with OPENSSL_CONF=/usr/share/tedge-p11/openssl.cnf.

Examples:
  tedge-hsm key-file --uri 'pkcs11:token=device;object=tls' --output device.key
  OPENSSL_CONF=/usr/share/tedge-p11/openssl.cnf curl --key device.key --cert device.pem https://HOST")]
pub(crate) struct Args {
    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    // The URI that names this key and no other.
    let key = store.private_key(args.uri.as_ref(), pin)?;
    let text = pem(LABEL, &content(&key.uri().to_string())?)?;
    file::write_or_print(args.output.as_deref(), &text)
}

/// What pkcs11-provider takes for a key: SEQUENCE { VisibleString, UTF8String }.
fn content(uri: &str) -> anyhow::Result<Vec<u8>> {
    let parts = [
        Any::new(Tag::VisibleString, DESCRIPTION)?,
        Any::new(Tag::Utf8String, uri.as_bytes())?,
    ];
    Ok(parts.to_vec().to_der()?)
}

const LABEL: &str = "PKCS#11 PROVIDER URI";
const DESCRIPTION: &[u8] = b"PKCS#11 Provider URI v1.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_provider_reads() {
        let der = content("pkcs11:object=a").unwrap();
        let expected = [b"0,\x1a\x19", DESCRIPTION, b"\x0c\x0fpkcs11:object=a"].concat();
        assert_eq!(der, expected);
    }
}
