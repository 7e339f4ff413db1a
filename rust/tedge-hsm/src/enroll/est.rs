//! Any CA that speaks EST (RFC 7030).

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use tedge_file::Attributes;
use tedge_p11_client::{KeySpec, PrivateKey};
use tedge_proxy::ProxySettings;

use super::bootstrap;
use super::cloud::{Cloud, Connection, Enrolment};
use super::csr_attributes::CsrAttributes;
use super::options::Options;
use crate::brokers::with_port;
use crate::certificate::{self, Certificate};
use crate::document::{self, Extras};
use crate::est::{EstServer, Login, Operation, Reply, default_ca};
use crate::fingerprint::Fingerprint;
use crate::key_type::KeyType;
use crate::names::Names;
use crate::output::note;
use crate::refused::ForGood;
use crate::tls::TlsClient;
use crate::trust::Trust;
use crate::{file, issued, names, own_file};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Who may have a certificate shows by one of: a user and a password; a certificate of the manufacturer's with its key, in \
a file or in the token; nothing, where a person at the server decides.

Examples:
  tedge-hsm enroll est --est https://ca.example --user NAME --password-file FILE
  tedge-hsm enroll est --est https://ca.example --bootstrap-uri 'pkcs11:object=factory' \\
    --fingerprint SHA256 --broker broker.example --preset NAME
  tedge-hsm enroll --settings /etc/tedge-hsm/enroll.conf")]
pub(crate) struct Args {
    /// EST server: https://HOST[:PORT], if needed with /.well-known/est/LABEL or another path
    #[arg(long, value_name = "URL")]
    est: String,

    /// PEM or DER file with the CA certificates that verify the server and the certificate [default:
    /// /etc/tedge-hsm/est-ca.pem, or the one in /etc/tedge if only that is there]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// SHA-256 of the CA's certificate, which is fetched from the server where the file of --ca is not there yet
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,

    /// Log in to the server as this user
    #[arg(long, value_name = "USER", requires = "password_file")]
    user: Option<String>,

    /// File with the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    bootstrap: bootstrap::Args,

    /// The broker that the device connects to then; without it no bridge is configured
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,

    /// The bridge's rules for that broker; without it those that its configuration has
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(PRESETS), requires = "broker")]
    preset: Option<String>,

    /// Name of the broker's table in the bridge's configuration
    #[arg(long, value_name = "NAME", default_value = "est", value_parser = parse_name)]
    broker_name: String,

    #[command(flatten)]
    pub(crate) options: Options,
}

impl Args {
    fn ca(&self) -> PathBuf {
        self.ca.clone().unwrap_or_else(default_ca)
    }
}

/// An EST server, and what logs in to it.
pub(crate) struct Est<'a> {
    args: &'a Args,
    login: Option<Login>,
    proxies: ProxySettings,
    wanted: OnceCell<Option<CsrAttributes>>,
}

impl<'a> Est<'a> {
    pub(crate) fn new(args: &'a Args, proxies: ProxySettings) -> anyhow::Result<Self> {
        let login = match (&args.user, &args.password_file) {
            (Some(user), Some(path)) => Some(Login::read(user.clone(), path)?),
            _ => None,
        };
        Ok(Self {
            args,
            login,
            proxies,
            wanted: OnceCell::new(),
        })
    }

    /// Whom to trust: the CAs in the file, or of them the one with the fingerprint, which is fetched where there is no file.
    fn trust(&self) -> anyhow::Result<Trust> {
        let path = &self.args.ca();
        let Some(fingerprint) = self.args.fingerprint else {
            return own_file::trust(path);
        };
        let Some(mut there) = own_file::certificates(path)? else {
            return self.fetch(fingerprint);
        };
        there.retain(|ca| Fingerprint::of(ca.der()) == fingerprint);
        if there.is_empty() {
            bail!(
                "{} is there, and has no certificate with the fingerprint {fingerprint}: remove it, or leave \
                 --fingerprint out",
                path.display()
            );
        }
        Trust::of(&there, path)
    }

    /// The CA with the fingerprint, out of those that the server sends to anybody; it is put into the file.
    fn fetch(&self, fingerprint: Fingerprint) -> anyhow::Result<Trust> {
        let path = &self.args.ca();
        let server = EstServer::new(
            &self.args.est,
            TlsClient::to_anybody(self.args.options.post_quantum.wanted())?,
            None,
            self.proxies.clone(),
            self.args.options.limit(),
        )?;
        let mut sent = server.ca_certificates()?.into_iter();
        let ca = sent.find(|ca| Fingerprint::of(ca.der()) == fingerprint);
        let ca = ca.with_context(|| {
            format!(
                "{} sends no CA certificate with the fingerprint {fingerprint}: is it the right server, and is that \
                 the SHA-256 of the CA's certificate?",
                self.args.est
            )
        })?;
        let trust = Trust::of(std::slice::from_ref(&ca), path)?;
        // Root's, also in another user's folder: it is the one that was asked for.
        let attributes = Attributes::Set {
            mode: 0o644,
            owner: None,
        };
        tedge_file::write(path, certificate::to_pem([&ca])?.as_bytes(), attributes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        note(format_args!(
            "done   CA           {}: {}",
            path.display(),
            names::subject(ca.subject())
        ));
        Ok(trust)
    }

    /// What the server wants of requests, asked once.
    fn wanted(&self) -> anyhow::Result<Option<&CsrAttributes>> {
        if let Some(wanted) = self.wanted.get() {
            return Ok(wanted.as_ref());
        }
        let tls = TlsClient::new(
            &self.trust()?,
            None,
            self.args.options.post_quantum.wanted(),
        )?;
        let limit = self.args.options.limit();
        let der =
            EstServer::new(&self.args.est, tls, None, self.proxies.clone(), limit)?.attributes()?;
        let wanted = der.and_then(|der| match CsrAttributes::parse(&der) {
            Ok(wanted) => Some(wanted),
            Err(error) => {
                note(format_args!("warns  request      {error:#}"));
                None
            }
        });
        Ok(self.wanted.get_or_init(|| wanted).as_ref())
    }
}

impl Cloud for Est<'_> {
    fn name(&self) -> &str {
        &self.args.broker_name
    }

    fn server(&self) -> String {
        self.args.est.clone()
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.args.fingerprint.is_some() && !self.args.ca().exists() {
            file::check_writable(&self.args.ca())?;
        } else {
            self.trust()?;
        }
        if self.login.is_some() && self.args.bootstrap.is_given() {
            bail!("--user and a bootstrap certificate are two ways to log in: leave one out");
        }
        Ok(())
    }

    fn has_broker(&self) -> bool {
        self.args.broker.is_some()
    }

    fn has_preset(&self) -> bool {
        self.args.preset.is_some()
    }

    fn key_type(&self) -> anyhow::Result<Option<KeyType>> {
        Ok(self.wanted()?.and_then(|wanted| wanted.key_type))
    }

    fn names(&self) -> anyhow::Result<Names> {
        self.args.options.names()
    }

    fn extras(&self, key: &dyn PrivateKey) -> anyhow::Result<Extras> {
        let Some(wanted) = self.wanted()? else {
            return Ok(Extras::default());
        };
        let mut missed = wanted.unknown.clone();
        let key_type = key.public_key().spec().map(KeyType::from);
        if let Some(other) = wanted.key_type.filter(|wanted| Some(*wanted) != key_type) {
            missed.push(format!("a key of type {}", KeySpec::from(other)));
        }
        let can = |oid: &_| document::signs_by(key, *oid);
        let signature = wanted.signature.iter().copied().find(can);
        if signature.is_none() && !wanted.signature.is_empty() {
            missed.push("a signature that this key does not make".to_owned());
        }
        if wanted.alternative_names && self.names()?.alternatives.is_empty() {
            missed.push("alternative names, which --san gives".to_owned());
        }
        if !missed.is_empty() {
            note(format_args!(
                "warns  request      the server asks for parts that the request does not have, and may refuse it: {}",
                missed.join("; ")
            ));
        }
        Ok(Extras {
            extensions: wanted.extensions.clone(),
            signature,
        })
    }

    fn certificate(&self, at: &mut Enrolment<'_>) -> anyhow::Result<Option<Vec<Certificate>>> {
        let trust = self.trust()?;
        let request = at.request()?;
        let client = self.args.bootstrap.resolver(at.keys, &at.key)?;
        let tls = TlsClient::new(&trust, client, self.args.options.post_quantum.wanted())?;
        let server = EstServer::new(
            &self.args.est,
            tls,
            self.login.clone(),
            at.proxies.clone(),
            at.limit,
        )?;
        let answer = ask(&server, at, &request)?;
        let chain = issued::accept(answer, &[], at.key.as_ref(), Some(&trust))
            .with_context(|| format!("{} sent a certificate that is refused", self.args.est))?;
        Ok(Some(chain))
    }

    fn connection(&self, _: &Enrolment<'_>) -> anyhow::Result<Option<Connection>> {
        let Some(broker) = &self.args.broker else {
            return Ok(None);
        };
        let (host, port) = with_port(broker, SECURE_MQTT);
        let preset = self.args.preset.as_deref();
        Ok(Some(Connection {
            preset: PRESETS.into_iter().find(|name| Some(*name) == preset),
            host,
            port: Some(port).filter(|port| *port != SECURE_MQTT),
            client_id: self.args.options.device_id()?,
            ..Connection::default()
        }))
    }
}

/// Asks until the server has decided, or for as long as the operator lets it.
fn ask(server: &EstServer, at: &Enrolment<'_>, request: &str) -> anyhow::Result<Vec<Certificate>> {
    let mut has_waited = false;
    loop {
        let (pause, said) = match server.ask(Operation::SimpleEnroll, request) {
            Ok(Reply::Certificates(certificates)) => return Ok(certificates),
            Ok(Reply::Later { after, said, .. }) => (after, said),
            // Who has said that it will decide may be away for a while.
            Ok(Reply::Refused {
                status: 500.., why, ..
            })
            | Err(why)
                if has_waited =>
            {
                (None, format!("{why:#}"))
            }
            // Not those that say that it was too early or too much.
            Ok(Reply::Refused {
                status: 400..=407 | 409..=424 | 426..=428 | 430..=499,
                why,
                ..
            }) => return Err(ForGood(why).into()),
            Ok(Reply::Refused { why, .. }) | Err(why) => return Err(why),
        };
        has_waited = true;
        let pause = pause.unwrap_or(PAUSE);
        note(format_args!(
            "waits  certificate  {said}: asked again in {} s",
            pause.as_secs()
        ));
        at.waiting.pause(pause, "the server has yet to decide")?;
    }
}

/// A bare key of TOML.
fn parse_name(text: &str) -> Result<String, &'static str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.is_empty() || !text.chars().all(is_bare) {
        return Err("a name has letters, digits, - and _");
    }
    Ok(text.to_owned())
}

/// Those of the bridge.
const PRESETS: [&str; 5] = [
    "cumulocity",
    "cumulocity-mqtt-service",
    "aws-iot",
    "azure-iot-hub",
    "azure-event-grid",
];
/// Between two questions, where the server does not say when.
const PAUSE: Duration = Duration::from_secs(60);
/// IANA's name for port 8883.
const SECURE_MQTT: u16 = 8883;
