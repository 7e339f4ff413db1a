//! The steps of an enrolment: what is done is found done, so that a run that was cut off anywhere is finished by the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::Map;
use tedge_p11_client::{PrivateKey, Uri};
use tedge_proxy::ProxySettings;
use tedge_tls::PostQuantum;

use super::bridge_toml::{self, Settings};
use super::cloud::{Cloud, Connection, Enrolment};
use super::options::Options;
use super::own_toml::tedge_toml;
use super::record::{self, Record, Step};
use super::waiting::Waiting;
use super::{certificate_file, key, tedge_toml};
use crate::brokers::Broker;
use crate::certificate::{self, Certificate};
use crate::keys::Keys;
use crate::names::Names;
use crate::output::{note, say};
use crate::try_connect::Trial;
use crate::{file, names};

/// Enrols the device with `cloud`, or goes on with what an earlier run began.
pub(crate) fn run(
    cloud: &dyn Cloud,
    keys: Keys<'_>,
    options: &Options,
    proxies: &ProxySettings,
) -> anyhow::Result<()> {
    let cert = options.cert()?;
    keys.store.prefer_key_of(&cert);
    certificate_file::make_folder(&cert)?;
    let _lock = file::lock_beside(&cert)?;
    let steps = Steps {
        cloud,
        keys,
        options,
        proxies,
        cert: &cert,
        waiting: Waiting::new(options.wait()),
    };
    steps.run()
}

struct Steps<'a> {
    cloud: &'a dyn Cloud,
    keys: Keys<'a>,
    options: &'a Options,
    proxies: &'a ProxySettings,
    cert: &'a Path,
    waiting: Waiting,
}

impl Steps<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let record = match Record::read(self.cert)? {
            Some(mut record) => {
                self.check_record(&record)?;
                // Where the trial failed, the options may say more by now: the bridge is to have it, too.
                if record.step == Step::Try {
                    record.step = Step::Configure;
                }
                record
            }
            None => match self.begin()? {
                Some(record) => record,
                None => return Ok(()),
            },
        };
        let step = record.step;
        let failed = |step: Step| format!("{}; the next run goes on", step.what());
        let key = self.key(&record).with_context(|| failed(step))?;
        let mut at = Enrolment {
            keys: self.keys,
            key,
            cert: self.cert,
            proxies: self.proxies.clone(),
            limit: self.options.limit(),
            waiting: &self.waiting,
            cloud: self.cloud,
            record,
        };
        if at.record.step == Step::MakeKey {
            note(format_args!("done   key          {}", at.key.uri()));
            at.record.step = Step::Certificate;
            at.save()?;
        }
        loop {
            let step = at.record.step;
            let next = self.take(&mut at).with_context(|| failed(step))?;
            let Some(next) = next else {
                break;
            };
            at.record.step = next;
            at.save()?;
        }
        Record::remove(self.cert)?;
        let installed = installed(self.cert, at.key.as_ref())?;
        say(format_args!(
            "{} is enrolled with {}: {} until {}",
            names::subject(installed[0].subject()),
            self.cloud.server(),
            self.cert.display(),
            installed[0].validity().1
        ))?;
        Ok(())
    }

    /// Takes a step, and returns the next one.
    fn take(&self, at: &mut Enrolment<'_>) -> anyhow::Result<Option<Step>> {
        match at.record.step {
            Step::MakeKey => Ok(Some(Step::Certificate)),
            Step::Certificate => {
                self.get_certificate(at)?;
                Ok(Some(Step::Register))
            }
            Step::Register => {
                self.cloud.register(at)?;
                Ok(Some(Step::Configure))
            }
            Step::Configure => {
                if let Some(connection) = self.cloud.connection(at)? {
                    self.configure(at, &connection)?;
                }
                Ok(Some(Step::Try))
            }
            Step::Try => {
                if let Some(connection) = self.cloud.connection(at)? {
                    self.connect(at, connection)?;
                }
                Ok(None)
            }
        }
    }

    /// Looks whether all can be done, as far as that shows beforehand, and records the first step that is not done; none
    /// if there is nothing to do.
    fn begin(&self) -> anyhow::Result<Option<Record>> {
        self.cloud.check()?;
        let subject = described(&self.cloud.names()?);
        let wanted = key::find(self.keys, self.options)?;
        let mut step = match &wanted.found {
            None => Step::MakeKey,
            Some(_) => Step::Certificate,
        };
        if self.cert.exists() {
            let key = wanted.found.as_ref().with_context(|| {
                format!(
                    "{} is there, but its key {} is not: remove the one, or name the other by --uri",
                    self.cert.display(),
                    wanted.uri
                )
            })?;
            let chain = installed(self.cert, key.as_ref())?;
            step = Step::Register;
            let has = names::subject(chain[0].subject());
            let wanted = names::subject(&self.cloud.names()?.subject);
            // A CA may add to it.
            if !has.contains(&wanted) {
                note(format_args!(
                    "note   certificate  {} is for {has}, and stays: to enrol as {wanted}, remove it first",
                    self.cert.display()
                ));
            }
            if self.is_configured()? {
                say(format_args!(
                    "{}: there already; nothing to do",
                    self.cert.display()
                ))?;
                return Ok(None);
            }
        }
        file::check_writable(self.cert)?;
        if self.has_bridge() {
            // What can't be read or edited is said now, too.
            let there = bridge_toml::look(&self.options.bridge(), self.cloud.name())?;
            if !there.has_rules && !self.cloud.has_preset() {
                bail!(
                    "the bridge would not know what to carry: put rules ([[cloud.{0}.out]], [[cloud.{0}.in]]) into {1} \
                     first, or name a --preset; --no-bridge leaves the bridge alone",
                    self.cloud.name(),
                    self.options.bridge().display()
                );
            }
            file::check_writable(&self.options.bridge()).context(
                "run it as root or as a user who may write there; --no-bridge leaves the bridge alone",
            )?;
        }
        let key = match &wanted.found {
            Some(key) => key.uri().to_string(),
            None => {
                let id = Some(crate::new_key::new_id()?);
                let id = wanted.uri.id.clone().or(id);
                Uri { id, ..wanted.uri }.to_string()
            }
        };
        let record = Record {
            step,
            cloud: self.cloud.name().to_owned(),
            server: self.cloud.server(),
            subject,
            key,
            request: None,
            state: Map::new(),
        };
        record.write(self.cert)?;
        Ok(Some(record))
    }

    /// Whether the bridge is to be configured.
    fn has_bridge(&self) -> bool {
        !self.options.no_bridge && self.cloud.has_broker()
    }

    /// Whether nothing is left to do for a device that has its certificate.
    fn is_configured(&self) -> anyhow::Result<bool> {
        if !self.has_bridge() {
            return Ok(true);
        }
        let there = bridge_toml::look(&self.options.bridge(), self.cloud.name())?;
        let is_required = self.options.post_quantum.wanted() == PostQuantum::Require;
        Ok(there.is_configured && (there.is_post_quantum || !is_required))
    }

    /// Whether the record is one of what is asked for now.
    fn check_record(&self, record: &Record) -> anyhow::Result<()> {
        let subject = described(&self.cloud.names()?);
        let now = (self.cloud.name(), self.cloud.server(), subject.as_str());
        let then = (
            record.cloud.as_str(),
            record.server.clone(),
            record.subject.as_str(),
        );
        if now != then {
            bail!(
                "an enrolment of {} with {} ({}) is under way: go on with that one, or remove {} to begin anew",
                record.subject,
                record.server,
                record.cloud,
                record::path(self.cert).display()
            );
        }
        let wanted = key::wanted(self.options)?;
        let begun: Uri = record.key.parse()?;
        if is_another(&wanted, &begun) {
            bail!(
                "an enrolment with the key {begun} is under way, not with {wanted}: go on with that one, or remove {} \
                 to begin anew",
                record::path(self.cert).display()
            );
        }
        Ok(())
    }

    /// The key that the record names.
    fn key(&self, record: &Record) -> anyhow::Result<Arc<dyn PrivateKey>> {
        let uri: Uri = record.key.parse()?;
        if record.step != Step::MakeKey {
            return self.keys.find(Some(&uri));
        }
        let made = key::find_or_make(self.keys, &uri, self.options, self.cloud);
        if made.is_err() && !key::is_there(self.keys, &uri) {
            // Nothing is begun: the next run takes a key that somebody else has made by then.
            Record::remove(self.cert)?;
        }
        made
    }

    fn get_certificate(&self, at: &mut Enrolment<'_>) -> anyhow::Result<()> {
        if !self.cert.exists() {
            let chain = self.cloud.certificate(at)?;
            let chain = chain.with_context(|| {
                format!(
                    "{} goes by a certificate that is there already, and there is no {}",
                    self.cloud.server(),
                    self.cert.display()
                )
            })?;
            let first = chain.first().context("there is no certificate")?;
            first.check_key(at.key.as_ref())?;
            file::write(self.cert, certificate::to_pem(&chain)?.as_bytes())?;
        }
        let chain = installed(self.cert, at.key.as_ref())?;
        note(format_args!(
            "done   certificate  {}: {} until {}",
            self.cert.display(),
            names::subject(chain[0].subject()),
            chain[0].validity().1
        ));
        Ok(())
    }

    fn configure(&self, at: &Enrolment<'_>, connection: &Connection) -> anyhow::Result<()> {
        if self.has_bridge() {
            let ca = self.broker_ca(connection).filter(|ca| ca.is_file());
            let settings = Settings {
                name: self.cloud.name(),
                connection,
                ca: ca.as_deref(),
                cert: self.cert,
                key: &lasting_uri(at.key.uri()),
                post_quantum: self.options.post_quantum.wanted(),
            };
            let done = if bridge_toml::write(&self.options.bridge(), &settings)? {
                "done"
            } else {
                "ok"
            };
            note(format_args!(
                "{done:<6} bridge       {}: [cloud.{}]",
                self.options.bridge().display(),
                self.cloud.name()
            ));
        }
        tedge_toml::write(&tedge_toml(), connection)
    }

    /// Who may have issued the broker's certificate, if that is not for the system to say.
    fn broker_ca(&self, connection: &Connection) -> Option<PathBuf> {
        self.options
            .broker_ca
            .clone()
            .or_else(|| connection.ca.clone())
    }

    fn connect(&self, at: &Enrolment<'_>, connection: Connection) -> anyhow::Result<()> {
        if self.options.no_try {
            return Ok(());
        }
        let ca = self.broker_ca(&connection);
        let trial = Trial {
            brokers: vec![Broker {
                host: connection.host,
                port: connection.port.unwrap_or(SECURE_MQTT),
                ca: ca.unwrap_or_else(|| "/etc/ssl/certs".into()),
            }],
            client_id: Some(connection.client_id),
            username: connection.username.or(connection.trial_username),
            password_file: None,
            alpn: connection.alpn,
            proxies: at.proxies.clone(),
            post_quantum: self.options.post_quantum.wanted(),
            limit: at.limit,
        };
        trial.run(&at.key, self.cert)?;
        note("done   connection   the broker has accepted the device");
        Ok(())
    }
}

/// Whether both URIs can't name one key.
fn is_another(wanted: &Uri, begun: &Uri) -> bool {
    fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        one.is_some() && other.is_some() && one != other
    }
    differ(wanted.token.as_ref(), begun.token.as_ref())
        || differ(wanted.serial.as_ref(), begun.serial.as_ref())
        || differ(wanted.object.as_ref(), begun.object.as_ref())
        || differ(wanted.id.as_ref(), begun.id.as_ref())
}

/// The certificate that is installed, with its chain; it must be for the key.
fn installed(cert: &Path, key: &dyn PrivateKey) -> anyhow::Result<Vec<Certificate>> {
    let chain = certificate::read_chain(cert)?;
    chain[0].check_key(key).with_context(|| {
        format!(
            "{} is there already; if it is not wanted any more, remove it",
            cert.display()
        )
    })?;
    Ok(chain)
}

/// All names of a certificate, by which an enrolment is told from another.
fn described(wanted: &Names) -> String {
    let mut text = names::subject(&wanted.subject);
    for alternative in &wanted.alternatives {
        text.push_str(", ");
        text.push_str(&names::alternative(alternative));
    }
    text
}

/// A URI by which a key is found also after a rotation, which changes its id.
fn lasting_uri(key: &Uri) -> Uri {
    Uri {
        token: key.token.clone(),
        object: key.object.clone(),
        id: key.id.clone().filter(|_| key.object.is_none()),
        ..Uri::default()
    }
}

/// IANA's name for port 8883.
const SECURE_MQTT: u16 = 8883;
