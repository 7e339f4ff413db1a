//! A certificate from an EST server or a tenant: the first one, the next one for the same key, or one for another key.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::client::ResolvesClientCert;
use tedge_p11_client::{ClientCertResolver, Pin, PrivateKey, Uri};
use tedge_proxy::ProxySettings;
use tedge_tls::PostQuantum;
use x509_cert::ext::pkix::name::GeneralName;

use crate::certificate::{self, Certificate};
use crate::est::{EstServer, Login, Operation};
use crate::keys::Keys;
use crate::names::{self, Names};
use crate::output::{note, say};
use crate::renewal_plan::Plan;
use crate::renewal_record::RenewalRecord;
use crate::renewal_schedule::{Schedule, now};
use crate::rotation::{self, Issuer, Outcome, Rotation};
use crate::tenant::Tenant;
use crate::tls::{self, TlsClient};
use crate::trust::Trust;
use crate::try_connect::Trial;
use crate::uri_parser::UriParser;
use crate::{cumulocity, document, file, issued};

/// Who is asked for a certificate, and what for.
pub(crate) struct Server<'a> {
    pub(crate) keys: Keys<'a>,
    pub(crate) est: String,
    pub(crate) cert: PathBuf,
    /// None if it is any EST server.
    pub(crate) tenant: Option<Tenant>,
    /// Who is trusted.
    pub(crate) trust: Trust,
    pub(crate) proxies: ProxySettings,
    pub(crate) post_quantum: PostQuantum,
    pub(crate) limit: Duration,
    pub(crate) uri: Option<Uri>,
    pub(crate) new_key: Option<Uri>,
    pub(crate) trial: Option<Trial>,
    pub(crate) cacerts_out: Option<PathBuf>,
    /// Those that the server distributes.
    pub(crate) cas: RefCell<Vec<Certificate>>,
    pub(crate) enroll: Enroll,
}

impl Server<'_> {
    /// The installed certificate with its chain.
    pub(crate) fn old(&self) -> anyhow::Result<Vec<Certificate>> {
        certificate::read_chain(&self.cert)
    }

    /// The first certificate.
    pub(crate) fn enroll(&mut self) -> anyhow::Result<()> {
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
    pub(crate) fn renew(&self) -> anyhow::Result<()> {
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
    pub(crate) fn tell(&self, history: &RenewalRecord, pause: Option<u64>) -> anyhow::Result<()> {
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
    pub(crate) fn rotate_or_renew(
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

    /// What renews, got with the pair that is there.
    fn token(
        &self,
        tenant: &Tenant,
        key: &Arc<dyn PrivateKey>,
        certificate: &Certificate,
    ) -> anyhow::Result<Pin> {
        let id = certificate
            .common_name()
            .context("the certificate has no common name")?;
        let broker = tls::Server {
            host: &tenant.mqtt.0,
            port: tenant.mqtt.1,
            cert: &self.cert,
            trust: &self.trust,
            alpn: &[],
            proxies: &self.proxies,
            post_quantum: self.post_quantum,
        };
        cumulocity::token(&broker, key.clone(), &id, self.limit)
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
                let token = self.token(tenant, old, &chain[0])?;
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

/// The first certificate.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The first certificate")]
pub(crate) struct Enroll {
    /// Get the first certificate; --cert must not exist yet
    #[arg(long, requires = "common_name")]
    pub(crate) enroll: bool,

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
