//! `list-certificates`: the certificates on a token.

use serde::Serialize;
use tedge_p11_client::{Uri, hex};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::output::{or_null, say, say_json};
use crate::store::{Store, StoredCertificate};
use crate::uri_parser::UriParser;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
One line for each certificate, with tabs between URI, end of validity (UTC) and subject. What --json prints is in \
docs/json.md. No PIN is needed.

Examples:
  tedge-hsm list-certificates --uri pkcs11:token=device
  tedge-hsm list-certificates --uri pkcs11:token=device --json")]
pub(crate) struct Args {
    /// URI of the token, or of the certificates or their keys
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry {
    uri: String,
    #[serde(serialize_with = "or_null")]
    label: String,
    #[serde(serialize_with = "or_null")]
    id: String,
    subject: Option<String>,
    issuer: Option<String>,
    serial: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
}

pub(crate) fn run(store: &Store, mut args: Args) -> anyhow::Result<()> {
    args.uri.iter_mut().for_each(|uri| uri.pin = None);
    let certificates = store.certificates(args.uri.as_ref())?;
    let entries: Vec<_> = certificates.into_iter().map(Entry::from).collect();
    if args.json {
        return say_json(&entries);
    }
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unreadable".to_owned());
    for entry in entries {
        let (not_after, subject) = (or_unknown(entry.not_after), or_unknown(entry.subject));
        say(format_args!("{}\t{not_after}\t{subject}", entry.uri))?;
    }
    Ok(())
}

impl From<StoredCertificate> for Entry {
    fn from(stored: StoredCertificate) -> Self {
        let der = stored.der.as_deref();
        let parsed = der.and_then(|der| Certificate::from_der(der).ok());
        let tbs = parsed.map(|certificate| certificate.tbs_certificate);
        let tbs = tbs.as_ref();
        Self {
            uri: stored.uri,
            label: stored.label,
            id: stored.id,
            subject: tbs.map(|tbs| tbs.subject.to_string()),
            issuer: tbs.map(|tbs| tbs.issuer.to_string()),
            serial: tbs.map(|tbs| hex(tbs.serial_number.as_bytes())),
            not_before: tbs.map(|tbs| tbs.validity.not_before.to_date_time().to_string()),
            not_after: tbs.map(|tbs| tbs.validity.not_after.to_date_time().to_string()),
        }
    }
}
