//! `renew`: a new certificate from an EST server, which the key on the token logs in to and asks
//! with. The old one stays until the new one has proved good.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use rustls::client::ResolvesClientCert;
use tedge_p11_client::{ClientCertResolver, Pin, PrivateKey, Uri};
use tedge_proxy::ProxySettings;
use tedge_tls::PostQuantum;
use x509_cert::ext::pkix::name::GeneralName;

use crate::brokers::with_port;
use crate::certificate::{self, Certificate};
use crate::cumulocity::{self, HTTPS};
use crate::est::{EstServer, Login, Operation, default_ca};
use crate::keys::Keys;
use crate::names::{self, Names};
use crate::output::{note, say};
use crate::place::Place;
use crate::post_quantum;
use crate::proxy::{self, RunBy};
use crate::renewal_plan::{Plan, is_urgent, pause_until, plan};
use crate::renewal_record::RenewalRecord;
use crate::rotation::record::Record;
use crate::rotation::{self, Issuer, Outcome, Rotation};
use crate::settings_file::SettingsFile;
use crate::store::Store;
use crate::tls::{self, TlsClient};
use crate::trust::Trust;
use crate::try_connect::{self, Trial};
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{document, file, issued, own_file};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new certificate replaces the old one only if it is for the key, and if a server that trusts the CAs would accept it. \
tedge-hsm-renew.timer looks each hour whether this is due, with the settings in /etc/tedge-hsm/renew.conf.

Examples:
  tedge-hsm renew --est https://est.example.org --cert device.pem --ca ca.pem --days 30
  tedge-hsm renew --est https://est.example.org --cert device.pem --ca ca.pem \\
    --enroll --common-name device-1 --user NAME --password-file FILE
  tedge-hsm renew --cumulocity example.cumulocity.com --cert device.pem --ca ca.pem --days 30
  tedge-hsm renew --settings /etc/tedge-hsm/renew.conf")]
pub(crate) struct Args {
    /// EST server: https://HOST[:PORT], if needed with /.well-known/est/LABEL or another path
    #[arg(long, value_name = "URL", required_unless_present_any = ["settings", "cumulocity"])]
    est: Option<String>,

    /// In place of --est: the tenant of Cumulocity whose own CA issued the certificate
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["est", "enroll", "cacerts_out"])]
    cumulocity: Option<String>,

    /// The tenant's MQTT broker, if it is elsewhere
    #[arg(long, value_name = "HOST[:PORT]", requires = "cumulocity")]
    mqtt: Option<String>,

    /// PEM or DER file with the certificate and its chain; a good new certificate replaces it, in PEM
    #[arg(long, value_name = "FILE", required_unless_present = "settings")]
    cert: Option<PathBuf>,

    /// PEM or DER file with the CA certificates that verify the server and the new certificate
    #[arg(long, value_name = "FILE", required_unless_present = "settings")]
    ca: Option<PathBuf>,

    /// File with the settings EST_URL or CUMULOCITY, CERT, CA, DAYS, SPREAD, PROXY, PROXY_USER, PROXY_PASSWORD_FILE,
    /// NO_PROXY and OPTIONS, in place of the options. Only root may be able to write it; tedge-hsm-renew.service uses it
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "est", "cumulocity", "cert", "ca", "uri", "days", "spread", "new_key", "cacerts_out", "timeout", "enroll",
        "try_connect", "require_post_quantum", "proxy", "no_proxy",
    ])]
    settings: Option<PathBuf>,

    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Do nothing while the certificate is valid for more than this number of days
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36500), conflicts_with = "enroll")]
    days: Option<u32>,

    /// Renew at a moment of this device's own, well before --days (or before a third of the certificate's life is left), and
    /// wait longer after each failure: for a device of a fleet (docs/fleet.md)
    #[arg(long, conflicts_with = "enroll")]
    spread: bool,

    /// Get the certificate for another key: the one of this URI, or without a URI a new key, which replaces the old
    /// one in steps (docs/rotation.md)
    #[arg(long, value_name = "URI", value_parser = UriParser, conflicts_with = "enroll")]
    #[allow(clippy::option_option)] // with or without a value
    new_key: Option<Option<Uri>>,

    /// Write the CA certificates that the server distributes to this file; one of them may issue the
    /// new certificate, too
    #[arg(long, value_name = "FILE")]
    cacerts_out: Option<PathBuf>,

    /// Time limit for each request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,

    #[command(flatten)]
    rotation: rotation::Args,

    #[command(flatten)]
    trial: try_connect::Args,

    #[command(flatten)]
    post_quantum: post_quantum::Args,

    #[command(flatten)]
    proxy: proxy::Args,

    #[command(flatten)]
    enroll: Enroll,
}

/// The first certificate.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The first certificate")]
struct Enroll {
    /// Get the first certificate; --cert must not exist yet
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

    /// URI of the bootstrap certificate's key [default: --uri]
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
    let settings = SettingsFile::read(
        path,
        &[
            "EST_URL",
            "CUMULOCITY",
            "CERT",
            "CA",
            "DAYS",
            "SPREAD",
            "PROXY",
            "PROXY_USER",
            "PROXY_PASSWORD_FILE",
            "NO_PROXY",
            "OPTIONS",
        ],
    )?;
    let default_ca = default_ca().display().to_string();
    let (server, ca) = match (settings.get("EST_URL"), settings.get("CUMULOCITY")) {
        (Some(est), None) => (format!("--est={est}"), default_ca.as_str()),
        (None, Some(host)) => (format!("--cumulocity={host}"), SYSTEMS_CAS),
        _ => bail!("{} sets one of EST_URL and CUMULOCITY", path.display()),
    };
    let or = |key, default| settings.get(key).unwrap_or(default);
    let mut options = vec![
        server,
        format!("--cert={}", or("CERT", DEFAULT_CERT)),
        format!("--ca={}", or("CA", ca)),
    ];
    match or("SPREAD", "yes") {
        "yes" => options.push("--spread".to_owned()),
        "no" => {}
        _ => bail!("{}: SPREAD is yes or no", path.display()),
    }
    // By --spread, a third of the certificate's life is left without it.
    let days = settings.get("DAYS");
    let is_spread = options.len() > 3;
    let days = days.or((!is_spread).then_some("30"));
    options.extend(days.map(|days| format!("--days={days}")));
    for (key, option) in [
        ("PROXY", "--proxy"),
        ("PROXY_USER", "--proxy-user"),
        ("PROXY_PASSWORD_FILE", "--proxy-password-file"),
        ("NO_PROXY", "--no-proxy"),
    ] {
        let value = settings.get(key);
        options.extend(value.map(|value| format!("{option}={value}")));
    }
    let more = settings.get("OPTIONS").unwrap_or_default();
    options.extend(more.split_ascii_whitespace().map(str::to_owned));
    Ok(options)
}

pub(crate) fn run(store: &Store, place: &Place, args: Args, run_by: RunBy) -> anyhow::Result<()> {
    let tenant = args
        .cumulocity
        .map(|host| Tenant::new(&host, args.mqtt.as_deref()));
    let est = args.est.or_else(|| Some(tenant.as_ref()?.est_url()));
    // The command line has been refused without them.
    let (Some(est), Some(cert), Some(ca)) = (est, args.cert, args.ca) else {
        bail!("--est, --cert and --ca are needed");
    };
    store.prefer_key_of(&cert);
    let rotates = matches!(args.new_key, Some(None));
    let limit = Duration::from_secs(args.timeout);
    let proxies = args.proxy.settings(run_by)?;
    let post_quantum = args.post_quantum.wanted();
    let mut server = Server {
        keys: Keys { store, place },
        est,
        cert,
        // What its server sends is put into files of root's, or a password is sent to it.
        trust: own_file::trust(&ca)?,
        limit,
        uri: args.uri,
        new_key: args.new_key.flatten(),
        trial: match &tenant {
            // The CA is the tenant's own: whether the certificate is good, its broker tells.
            Some(tenant) => {
                Some(
                    args.trial
                        .trial_at(&tenant.broker(), &ca, &proxies, post_quantum, limit)?,
                )
            }
            None => args.trial.trial(rotates, &proxies, post_quantum, limit)?,
        },
        proxies,
        post_quantum,
        tenant,
        cacerts_out: args.cacerts_out,
        cas: RefCell::default(),
        enroll: args.enroll,
    };
    if server.enroll.enroll {
        return server.enroll();
    }
    let schedule = Schedule {
        days: args.days,
        spread: args.spread,
    };
    let mut history = RenewalRecord::look(&server.cert);
    let record = Record::read(&server.cert)?;
    let due = schedule.due(&server.old()?[0], &history)?;
    if !rotates {
        if let Some(record) = &record {
            note(format_args!(
                "a new key is on its way for {} (since {}): --new-key goes on with it",
                server.cert.display(),
                record.old_key
            ));
        }
    }
    let pause = schedule.pause(&server.old()?[0], &history)?;
    let goes_on = rotates && record.is_some() && pause.is_none();
    if due != Plan::Now && !goes_on {
        server.tell(&history, pause)?;
        return Ok(());
    }
    let result = if rotates {
        server.rotate_or_renew(&args.rotation, record.is_some(), schedule, &history)
    } else {
        server.renew().map(|()| true)
    };
    match &result {
        Ok(true) => history.succeeded(now()?.as_secs()),
        Ok(false) => {}
        Err(error) => history.failed(now()?.as_secs(), &format!("{error:#}")),
    }
    if !matches!(result, Ok(false)) {
        if let Err(error) = history.write(&server.cert) {
            note(format_args!("{error:#}"));
        }
    }
    result.map(drop)
}

/// When a certificate is to be renewed.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// So many days before it ends at the latest.
    days: Option<u32>,
    /// At a moment of the device's own.
    spread: bool,
}

impl Schedule {
    fn due(self, certificate: &Certificate, history: &RenewalRecord) -> anyhow::Result<Plan> {
        let now = now()?;
        if self.spread {
            let reserve = self.days.map(|days| u64::from(days) * SECONDS_A_DAY);
            let term = certificate.term();
            return Ok(plan(&term, reserve, &history.failures(), now.as_secs()));
        }
        let left = certificate.days_left(now);
        Ok(match self.days {
            Some(days) if left >= i64::from(days) => {
                let reserve = u64::from(days) * SECONDS_A_DAY;
                Plan::At(certificate.not_after().as_secs().saturating_sub(reserve))
            }
            _ => Plan::Now,
        })
    }

    /// Until when is to be waited after a failure.
    fn pause(
        self,
        certificate: &Certificate,
        history: &RenewalRecord,
    ) -> anyhow::Result<Option<u64>> {
        if !self.spread {
            return Ok(None);
        }
        let now = now()?.as_secs();
        Ok(pause_until(&certificate.term(), &history.failures(), now))
    }

    /// Whether half of the time is gone in which the certificate should have been renewed.
    fn is_urgent(self, certificate: &Certificate) -> anyhow::Result<bool> {
        if self.days.is_none() && !self.spread {
            return Ok(false);
        }
        let reserve = self.days.map(|days| u64::from(days) * SECONDS_A_DAY);
        let term = certificate.term();
        Ok(is_urgent(&term, reserve, now()?.as_secs()))
    }
}

/// Who is asked for a certificate, and what for.
struct Server<'a> {
    keys: Keys<'a>,
    est: String,
    cert: PathBuf,
    /// None if it is any EST server.
    tenant: Option<Tenant>,
    /// Who is trusted.
    trust: Trust,
    proxies: ProxySettings,
    post_quantum: PostQuantum,
    limit: Duration,
    uri: Option<Uri>,
    new_key: Option<Uri>,
    trial: Option<Trial>,
    cacerts_out: Option<PathBuf>,
    /// Those that the server distributes.
    cas: RefCell<Vec<Certificate>>,
    enroll: Enroll,
}

impl Server<'_> {
    /// The installed certificate with its chain.
    fn old(&self) -> anyhow::Result<Vec<Certificate>> {
        certificate::read_chain(&self.cert)
    }

    /// The first certificate.
    fn enroll(&mut self) -> anyhow::Result<()> {
        if self.cert.exists() {
            let path = self.cert.display();
            bail!("{path} already exists: renew it without --enroll, or remove it");
        }
        let key = self.keys.find(self.uri.as_ref())?;
        let client = bootstrap(&self.enroll, self.keys, &key)?;
        let enroll = &mut self.enroll;
        let common_name = enroll.common_name.as_deref().unwrap_or_default();
        let organization = enroll.organization.as_deref();
        let names = Names::new(common_name, organization, std::mem::take(&mut enroll.san))?;
        let login = match (enroll.user.take(), &enroll.password_file) {
            (Some(user), Some(path)) => Some(Login::read(user, path)?),
            _ => None,
        };
        file::check_writable(&self.cert)?;
        let chain = self.ask(Operation::SimpleEnroll, client, login, names, &key, &[])?;
        self.install(&key, &chain)
    }

    /// The next certificate for the key, or for another one that is there.
    fn renew(&self) -> anyhow::Result<()> {
        let old = self.keys.find(self.uri.as_ref())?;
        let new = match &self.new_key {
            Some(uri) => self.keys.find(Some(uri))?,
            None => old.clone(),
        };
        file::check_writable(&self.cert)?;
        let chain = self.issue(&old, &new)?;
        self.install(&new, &chain)
    }

    /// Says why there is nothing to do.
    fn tell(&self, history: &RenewalRecord, pause: Option<u64>) -> anyhow::Result<()> {
        let cert = self.cert.display();
        let left = self.old()?[0].days_left(now()?);
        match (pause, &history.error) {
            (Some(end), Some(error)) => say(format_args!(
                "{cert} is valid for {left} more days; the next try is not before {}, since the last failed: {error}",
                certificate::time(end)
            ))?,
            _ => say(format_args!(
                "{cert} is valid for {left} more days; nothing to do"
            ))?,
        }
        Ok(())
    }

    /// Another key, or where that can't be had in time a certificate for the one that is there. Returns whether there is
    /// a new certificate.
    fn rotate_or_renew(
        &mut self,
        args: &rotation::Args,
        is_under_way: bool,
        schedule: Schedule,
        history: &RenewalRecord,
    ) -> anyhow::Result<bool> {
        let before = self.old()?;
        let is_urgent = schedule.is_urgent(&before[0])?;
        match self.rotate(args, is_under_way) {
            Ok(Outcome::Finished) => Ok(true),
            Ok(Outcome::KeepsOld) => {
                // It may have been replaced just now.
                let now_installed = self.old()?;
                let is_new = now_installed[0].der() != before[0].der();
                if schedule.due(&now_installed[0], history)? == Plan::Now
                    && (schedule.days.is_some() || schedule.spread)
                {
                    return self.renew().map(|()| true);
                }
                Ok(is_new)
            }
            Err(error) if is_urgent => {
                let left = before[0].days_left(now()?);
                note(format_args!(
                    "the certificate ends in {left} days: it is renewed for the key that it has"
                ));
                // Without a trial: a broker that is away must not let it end.
                self.trial = None;
                self.renew().and(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Another key, in steps.
    fn rotate(&self, args: &rotation::Args, is_under_way: bool) -> anyhow::Result<Outcome> {
        let trial = self.trial.as_ref().context("no broker to try it with")?;
        let rotation = Rotation {
            keys: self.keys,
            cert: &self.cert,
            uri: self.uri.as_ref(),
            trial,
            args,
            ca: self,
        };
        let outcome = rotation.run(is_under_way)?;
        self.write_cas()?;
        Ok(outcome)
    }

    /// Asks the server, and looks whether the answer is good.
    fn ask(
        &self,
        operation: Operation,
        client: Option<Arc<dyn ResolvesClientCert>>,
        login: Option<Login>,
        names: Names,
        key: &Arc<dyn PrivateKey>,
        old: &[Certificate],
    ) -> anyhow::Result<Vec<Certificate>> {
        let tls = TlsClient::new(&self.trust, client, self.post_quantum)?;
        let server = EstServer::new(&self.est, tls, login, self.proxies.clone(), self.limit)?;
        let own = self.tenant.is_none();
        let mut trust = self.trust.clone();
        if self.cacerts_out.is_some() {
            let cas = server.ca_certificates()?;
            for ca in &cas {
                trust.add(ca).context("from the server's list of CAs")?;
            }
            self.cas.replace(cas);
        }
        let request = document::request(key.as_ref(), names)?;
        let answer = server.enroll(operation, &request)?;
        issued::accept(answer, old, key.as_ref(), own.then_some(&trust))
            .with_context(|| format!("{} sent a certificate that is refused", self.est))
    }

    /// Has the certificate take the old one's place, once the broker has taken it if it is to be asked.
    fn install(&self, key: &Arc<dyn PrivateKey>, chain: &[Certificate]) -> anyhow::Result<()> {
        let text = certificate::to_pem(chain)?;
        if let Some(trial) = &self.trial {
            let path = file::beside(&self.cert, ".trial");
            file::write(&path, text.as_bytes())?;
            let tried = trial.run(key, &path);
            file::remove(&path)?;
            tried.with_context(|| {
                format!(
                    "{} is left as it was; the next run tries again",
                    self.cert.display()
                )
            })?;
        }
        file::write(&self.cert, text.as_bytes())?;
        self.write_cas()?;
        say(format_args!(
            "{}: {} until {}",
            self.cert.display(),
            names::subject(chain[0].subject()),
            chain[0].validity().1
        ))?;
        Ok(())
    }

    /// Writes down what the server distributes, if that was asked for.
    fn write_cas(&self) -> anyhow::Result<()> {
        let cas = self.cas.borrow();
        match &self.cacerts_out {
            Some(path) if !cas.is_empty() => {
                file::write(path, certificate::to_pem(cas.iter())?.as_bytes())
            }
            _ => Ok(()),
        }
    }
}

impl Issuer for Server<'_> {
    fn issue(
        &self,
        old: &Arc<dyn PrivateKey>,
        new: &Arc<dyn PrivateKey>,
    ) -> anyhow::Result<Vec<Certificate>> {
        let chain = self.old()?;
        let names = chain[0].names()?;
        let (client, login) = match &self.tenant {
            None => (Some(resolver(old, &self.cert)?), None),
            Some(tenant) => {
                let token = tenant.token(self, old, &chain[0])?;
                (None, Some(Login::Bearer(token)))
            }
        };
        self.ask(Operation::SimpleReenroll, client, login, names, new, &chain)
    }

    fn verify(&self, chain: &[Certificate]) -> anyhow::Result<()> {
        if self.tenant.is_some() {
            return match chain.first() {
                Some(certificate) => issued::check_alone(certificate),
                None => bail!("there is no certificate"),
            };
        }
        let mut trust = self.trust.clone();
        // As they were written down, where this is another run.
        let written = self.cacerts_out.as_deref().map(certificate::read_chain);
        for ca in written.and_then(Result::ok).unwrap_or_default() {
            trust.add(&ca)?;
        }
        for ca in self.cas.borrow().iter() {
            trust.add(ca)?;
        }
        trust.verify(chain)
    }
}

/// A tenant of Cumulocity.
struct Tenant {
    http: (String, u16),
    mqtt: (String, u16),
}

impl Tenant {
    fn new(http: &str, mqtt: Option<&str>) -> Self {
        let http = with_port(http, HTTPS);
        let mqtt = match mqtt {
            Some(mqtt) => with_port(mqtt, SECURE_MQTT),
            None => (http.0.clone(), SECURE_MQTT),
        };
        Self { http, mqtt }
    }

    fn est_url(&self) -> String {
        cumulocity::est_url(&self.http.0, self.http.1)
    }

    /// Its MQTT broker, as an option has it.
    fn broker(&self) -> String {
        let (host, port) = &self.mqtt;
        // An IPv6 address.
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// What renews, got with the pair that is there.
    fn token(
        &self,
        server: &Server<'_>,
        key: &Arc<dyn PrivateKey>,
        certificate: &Certificate,
    ) -> anyhow::Result<Pin> {
        let id = certificate
            .common_name()
            .context("the certificate has no common name")?;
        let broker = tls::Server {
            host: &self.mqtt.0,
            port: self.mqtt.1,
            cert: &server.cert,
            trust: &server.trust,
            alpn: &[],
            proxies: &server.proxies,
            post_quantum: server.post_quantum,
        };
        cumulocity::token(&broker, key.clone(), &id, server.limit)
    }
}

/// What the first certificate is asked for with, if not with a password.
fn bootstrap(
    enroll: &Enroll,
    keys: Keys<'_>,
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

fn now() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

const SECONDS_A_DAY: u64 = 86_400;
/// As thin-edge.io has it.
const DEFAULT_CERT: &str = "/etc/tedge/device-certs/tedge-certificate.pem";
const SYSTEMS_CAS: &str = "/etc/ssl/certs";
/// IANA's name for port 8883.
const SECURE_MQTT: u16 = 8883;
