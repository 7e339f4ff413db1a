//! `show`: what a certificate says, and whether it is for the key on the token.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tedge_p11_client::Uri;

use crate::certificate::{self, Certificate, Issued, in_days};
use crate::output::say;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{names, pins};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
This command does not judge the certificate; tedge-hsm verify does. What --json prints is in docs/json.md.

Examples:
  tedge-hsm show device.pem
  tedge-hsm show device.pem --uri 'pkcs11:token=device;object=tls' --json")]
pub(crate) struct Args {
    /// PEM or DER file with the certificate, and in PEM its chain
    cert: PathBuf,

    /// URI of the key [default: the key that the signer is configured with, if there is a signer]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

/// Fails only for what can't be read: `verify` is there to judge.
pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let chain = certificate::read_chain(&args.cert)?;
    let key = match store.private_key(args.uri.as_ref(), pin) {
        Ok(key) if chain[0].check_key(key.as_ref()).is_ok() => Key::Matches(key.uri().to_string()),
        Ok(key) => Key::Differs(key.uri().to_string()),
        Err(error) if args.uri.is_some() => return Err(error),
        Err(error) => Key::Unknown(format!("{error:#}")),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let facts = Facts::new(&chain, key, now)?;
    if args.json {
        return Ok(say(format_args!("{:#}", facts.json()))?);
    }
    for (name, value) in facts.lines() {
        say(format_args!("{name:<18}{value}"))?;
    }
    Ok(())
}

/// What there is to tell.
struct Facts {
    subject: String,
    issuer: String,
    serial: String,
    version: u8,
    not_before: String,
    not_after: String,
    not_yet: bool,
    days_left: i64,
    left: String,
    names: Vec<String>,
    usages: Vec<String>,
    key_type: String,
    signature_algorithm: String,
    fingerprint: String,
    key: Key,
    /// The subject of each certificate in the file and who issued it.
    chain: Vec<(String, Issuer)>,
}

enum Key {
    Matches(String),
    Differs(String),
    Unknown(String),
}

enum Issuer {
    Next,
    Itself,
    /// As the names have it; nothing here can verify the signature.
    NextByName,
    /// The same.
    ItselfByName,
    /// It is not behind it in the file.
    Other(String),
}

impl Facts {
    fn new(chain: &[Certificate], key: Key, now: Duration) -> anyhow::Result<Self> {
        let certificate = &chain[0];
        let (not_before, not_after) = certificate.validity();
        let alternatives = certificate.alternative_names()?;
        let next = chain.iter().skip(1).map(Some).chain([None]);
        Ok(Self {
            subject: names::subject(certificate.subject()),
            issuer: names::subject(certificate.issuer()),
            serial: certificate.serial(),
            version: certificate.version(),
            not_before,
            not_after,
            not_yet: now < certificate.not_before(),
            days_left: certificate.days_left(now),
            left: match certificate.not_after().checked_sub(now) {
                Some(left) => format!("{} left", in_days(left)),
                None => format!(
                    "expired {} ago",
                    in_days(now.saturating_sub(certificate.not_after()))
                ),
            },
            names: alternatives.iter().map(names::alternative).collect(),
            usages: certificate.usages()?,
            key_type: certificate.key_type(),
            signature_algorithm: certificate.signature_algorithm(),
            fingerprint: certificate.fingerprint(),
            key,
            chain: chain
                .iter()
                .zip(next)
                .map(|(one, next)| (names::subject(one.subject()), Issuer::of(one, next)))
                .collect(),
        })
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let not_yet = if self.not_yet { " (not valid yet)" } else { "" };
        let mut lines = vec![
            ("subject", self.subject.clone()),
            ("issuer", self.issuer.clone()),
            ("serial number", self.serial.clone()),
            ("not before", format!("{}{not_yet}", self.not_before)),
            ("not after", format!("{} ({})", self.not_after, self.left)),
            ("further names", or_none(&self.names)),
            ("usage", or_none(&self.usages)),
            ("key type", self.key_type.clone()),
            ("signature", self.signature_algorithm.clone()),
            ("SHA-256", self.fingerprint.clone()),
        ];
        if self.version < 3 {
            let version = self.version;
            lines.push((
                "X.509 version",
                format!("{version}: servers on OpenSSL take it, some others do not"),
            ));
        }
        lines.push(match &self.key {
            Key::Matches(uri) => ("key on the token", format!("matches: {uri}")),
            Key::Differs(uri) => ("key on the token", format!("does not match: {uri}")),
            Key::Unknown(why) => ("key on the token", format!("not compared: {why}")),
        });
        for (subject, issuer) in &self.chain {
            lines.push(("chain", format!("{subject}: issued by {}", issuer.text())));
        }
        lines
    }

    fn json(&self) -> serde_json::Value {
        let (key, matches) = match &self.key {
            Key::Matches(uri) => (Some(uri), Some(true)),
            Key::Differs(uri) => (Some(uri), Some(false)),
            Key::Unknown(_) => (None, None),
        };
        let chain = self.chain.iter().map(|(subject, issuer)| {
            let (by, verified) = match issuer {
                Issuer::Next => ("next", true),
                Issuer::NextByName => ("next", false),
                Issuer::Itself => ("itself", true),
                Issuer::ItselfByName => ("itself", false),
                Issuer::Other(_) => ("other", false),
            };
            json!({ "subject": subject, "issued_by": by, "verified": verified })
        });
        json!({
            "subject": self.subject,
            "issuer": self.issuer,
            "serial_number": self.serial,
            "version": self.version,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "days_left": self.days_left,
            "names": self.names,
            "usage": self.usages,
            "key_type": self.key_type,
            "signature_algorithm": self.signature_algorithm,
            "sha256": self.fingerprint,
            "key_uri": key,
            "key_matches": matches,
            "chain": chain.collect::<Vec<_>>(),
        })
    }
}

impl Issuer {
    fn of(certificate: &Certificate, next: Option<&Certificate>) -> Self {
        match (
            next.map(|next| certificate.issued_by(next)),
            certificate.issued_by(certificate),
        ) {
            (_, Issued::Yes) => Self::Itself,
            (_, Issued::Unverified) => Self::ItselfByName,
            (Some(Issued::Yes), _) => Self::Next,
            (Some(Issued::Unverified), _) => Self::NextByName,
            _ => Self::Other(names::subject(certificate.issuer())),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Next => "the next".to_owned(),
            Self::NextByName => "the next, by its name; nothing here can verify it".to_owned(),
            Self::Itself => "itself".to_owned(),
            Self::ItselfByName => "itself, by its name; nothing here can verify it".to_owned(),
            Self::Other(name) => format!("{name}, which is not the next in the file"),
        }
    }
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    list.join(", ")
}
