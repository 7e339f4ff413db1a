//! `renew`: a new certificate from an EST server, which the key on the token logs in to and asks
//! with. The old one stays until the new one has proved good.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use rustls::client::ResolvesClientCert;
use tedge_p11_client::{ClientCertResolver, Pin, PrivateKey, Uri};
use x509_cert::ext::pkix::name::GeneralName;

use crate::certificate::{self, Certificate};
use crate::est::{EstServer, Login, Operation};
use crate::names::{self, Names};
use crate::output::say;
use crate::place::Place;
use crate::settings_file::SettingsFile;
use crate::store::Store;
use crate::tls::TlsClient;
use crate::trust::{self, Trust};
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{document, file, pins};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The old certificate stays until the new one has proved good: for the key, and such that a server which trusts the CAs \
takes it. tedge-hsm-renew.timer does this every day, with the settings in /etc/tedge-hsm/renew.conf.

Examples:
  tedge-hsm renew --est https://est.example.org --cert device.pem --ca ca.pem --days 30
  tedge-hsm renew --est https://est.example.org --cert device.pem --ca ca.pem \\
    --enroll --common-name device-1 --user NAME --password-file FILE
  tedge-hsm renew --settings /etc/tedge-hsm/renew.conf")]
pub(crate) struct Args {
    /// EST server: https://HOST[:PORT], with /.well-known/est/LABEL or another path if need be
    #[arg(long, value_name = "URL", required_unless_present = "settings")]
    est: Option<String>,

    /// PEM or DER file with the certificate and its chain; replaced, in PEM, when the new one is good
    #[arg(long, value_name = "FILE", required_unless_present = "settings")]
    cert: Option<PathBuf>,

    /// PEM or DER file with the CA certificates that the server and the new certificate are verified with
    #[arg(long, value_name = "FILE", required_unless_present = "settings")]
    ca: Option<PathBuf>,

    /// File with the settings EST_URL, CERT, CA, DAYS and OPTIONS, which root alone may write, as
    /// tedge-hsm-renew.service has it, in place of the options
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "est", "cert", "ca", "uri", "days", "new_key", "cacerts_out", "timeout", "enroll",
    ])]
    settings: Option<PathBuf>,

    /// URI of the key; the one configured at the signer without
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Do nothing if the certificate is valid for so many more days
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36500), conflicts_with = "enroll")]
    days: Option<u32>,

    /// URI of another key, which the new certificate shall be for
    #[arg(long, value_name = "URI", value_parser = UriParser, conflicts_with = "enroll")]
    new_key: Option<Uri>,

    /// Write the CA certificates that the server distributes to this file; the new certificate may
    /// be from one of them, too
    #[arg(long, value_name = "FILE")]
    cacerts_out: Option<PathBuf>,

    /// Seconds that each request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,

    #[command(flatten)]
    enroll: Enroll,
}

/// The first certificate.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The first certificate")]
struct Enroll {
    /// There is no certificate yet: ask for the first one
    #[arg(long, requires = "common_name")]
    enroll: bool,

    /// Common name of the subject: the device's id
    #[arg(long, value_name = "NAME", requires = "enroll")]
    common_name: Option<String>,

    /// Organisation of the subject
    #[arg(long, value_name = "NAME", requires = "enroll")]
    organization: Option<String>,

    /// Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated
    #[arg(long, value_name = "NAME", value_parser = names::parse, requires = "enroll")]
    san: Vec<GeneralName>,

    /// Log in to the server as this user
    #[arg(long, value_name = "USER", requires_all = ["enroll", "password_file"])]
    user: Option<String>,

    /// File with the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// Log in with the certificate in this PEM or DER file, such as the manufacturer's
    #[arg(long, value_name = "FILE", requires = "enroll")]
    bootstrap_cert: Option<PathBuf>,

    /// URI of the bootstrap certificate's key; the same as --uri without
    #[arg(long, value_name = "URI", value_parser = UriParser, requires = "bootstrap_cert")]
    bootstrap_uri: Option<Uri>,
}

impl Args {
    /// The file that has the options.
    pub(crate) fn settings(&self) -> Option<&Path> {
        self.settings.as_deref()
    }
}

/// The options that the settings in `path` stand for.
pub(crate) fn options(path: &Path) -> anyhow::Result<Vec<String>> {
    let settings = SettingsFile::read(path, &["EST_URL", "CERT", "CA", "DAYS", "OPTIONS"])?;
    let est = settings
        .get("EST_URL")
        .with_context(|| format!("{} does not set EST_URL", path.display()))?;
    let or = |key, default| settings.get(key).unwrap_or(default);
    let mut options = vec![
        format!("--est={est}"),
        format!("--cert={}", or("CERT", DEFAULT_CERT)),
        format!("--ca={}", or("CA", DEFAULT_CA)),
        format!("--days={}", or("DAYS", "30")),
    ];
    let more = settings.get("OPTIONS").unwrap_or_default();
    options.extend(more.split_ascii_whitespace().map(str::to_owned));
    Ok(options)
}

pub(crate) fn run(store: &Store, place: &Place, args: Args) -> anyhow::Result<()> {
    // The command line has been refused without them.
    let (Some(est), Some(cert), Some(ca)) = (args.est, args.cert, args.ca) else {
        bail!("--est, --cert and --ca are needed");
    };
    let keys = Keys { store, place };
    let old = match args.enroll.enroll {
        true if cert.exists() => {
            let path = cert.display();
            bail!("{path} is there already: renew it without --enroll, or remove it");
        }
        true => Vec::new(),
        false => certificate::read_chain(&cert)?,
    };
    if let (Some(days), Some(old)) = (args.days, old.first()) {
        let left = old.days_left(now()?);
        if left >= i64::from(days) {
            say(format_args!(
                "{} is valid for {left} more days; nothing to do",
                cert.display()
            ))?;
            return Ok(());
        }
    }

    let key = keys.find(args.uri.as_ref())?;
    let (client, names, operation) = match old.first() {
        Some(old) => {
            let client = resolver(&key, &cert)?;
            (Some(client), old.names()?, Operation::SimpleReenroll)
        }
        None => {
            let client = bootstrap(&args.enroll, &keys, &key)?;
            let common_name = args.enroll.common_name.as_deref().unwrap_or_default();
            let organization = args.enroll.organization.as_deref();
            let names = Names::new(common_name, organization, args.enroll.san)?;
            (client, names, Operation::SimpleEnroll)
        }
    };
    let key = match &args.new_key {
        Some(uri) => keys.find(Some(uri))?,
        None => key,
    };
    let login = match (args.enroll.user, &args.enroll.password_file) {
        // RFC 7617, section 2.
        (Some(user), _) if user.contains(':') => bail!("a user's name has no colon"),
        (Some(user), Some(path)) => {
            let password = Pin::read_file(path).context("--password-file")?;
            Some(Login { user, password })
        }
        _ => None,
    };

    let mut trust = Trust::read(&ca)?;
    let tls = TlsClient::new(&trust, client)?;
    let server = EstServer::new(&est, tls, login, Duration::from_secs(args.timeout))?;
    let cas = match &args.cacerts_out {
        Some(_) => server.ca_certificates()?,
        None => Vec::new(),
    };
    for ca in &cas {
        trust.add(ca).context("of what the server distributes")?;
    }
    file::check_writable(&cert)?;
    let request = document::request(key.as_ref(), names)?;
    let answer = server.enroll(operation, &request)?;
    let chain = accept(answer, &old, key.as_ref(), &trust)
        .with_context(|| format!("{est} sent a certificate that is refused"))?;
    file::write(&cert, certificate::to_pem(&chain)?.as_bytes())?;
    if let Some(path) = &args.cacerts_out {
        file::write(path, certificate::to_pem(&cas)?.as_bytes())?;
    }
    say(format_args!(
        "{}: {} until {}",
        cert.display(),
        names::subject(chain[0].subject()),
        chain[0].validity().1
    ))?;
    Ok(())
}

/// The new certificate out of an answer, with the chain that belongs to it, if it is good: for this
/// key, and such that a server which trusts the same takes it.
fn accept(
    answer: Vec<Certificate>,
    old: &[Certificate],
    key: &dyn PrivateKey,
    trust: &Trust,
) -> anyhow::Result<Vec<Certificate>> {
    let certificate = answer
        .iter()
        .find(|certificate| certificate.check_key(key).is_ok())
        .with_context(|| format!("it is not for the key {}", key.uri()))?
        .clone();
    if old
        .first()
        .is_some_and(|old| old.der() == certificate.der())
    {
        bail!("it is the old one");
    }
    // Many servers send the certificate alone: the issuers of the old one are good for the new.
    let mut candidates = answer;
    candidates.extend_from_slice(old);
    let chain = trust::chain(certificate, &candidates);
    trust.verify(&chain)?;
    Ok(chain)
}

/// What the first certificate is asked for with, if not with a password.
fn bootstrap(
    enroll: &Enroll,
    keys: &Keys<'_>,
    key: &Arc<dyn PrivateKey>,
) -> anyhow::Result<Option<Arc<dyn ResolvesClientCert>>> {
    let Some(path) = &enroll.bootstrap_cert else {
        return Ok(None);
    };
    let key = match &enroll.bootstrap_uri {
        Some(uri) => &keys.find(Some(uri))?,
        None => key,
    };
    Ok(Some(resolver(key, path)?))
}

fn resolver(key: &Arc<dyn PrivateKey>, cert: &Path) -> anyhow::Result<Arc<dyn ResolvesClientCert>> {
    Ok(Arc::new(ClientCertResolver::new(key.clone(), cert)?))
}

/// Where the keys are, and the PIN.
struct Keys<'a> {
    store: &'a Store,
    place: &'a Place,
}

impl Keys<'_> {
    fn find(&self, uri: Option<&Uri>) -> anyhow::Result<Arc<dyn PrivateKey>> {
        let mut uri = uri.cloned();
        let pin = pins::given(self.place.pin_file.as_deref(), uri.as_mut())?;
        self.store.private_key(uri.as_ref(), pin)
    }
}

fn now() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

/// As thin-edge.io has it.
const DEFAULT_CERT: &str = "/etc/tedge/device-certs/tedge-certificate.pem";
const DEFAULT_CA: &str = "/etc/tedge/est-ca.pem";
