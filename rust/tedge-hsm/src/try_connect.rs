//! A trial connection to the device's broker, before a certificate takes the place of another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tedge_file::MAX_SETTINGS;
use tedge_p11_client::{Pin, PrivateKey};
use tedge_p11_config::{Connections, DEFAULT_CONFIG_DIR, parse_connections, read_connections};
use tedge_proxy::ProxySettings;
use tedge_tls::PostQuantum;

use crate::brokers::{Broker, brokers, with_port};
use crate::certificate;
use crate::mqtt::{Mqtt, Session};
use crate::own_file;
use crate::root::Root;
use crate::tls;

/// The broker that a certificate is tried with.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The trial connection")]
#[group(id = "trial")]
pub(crate) struct Args {
    /// Connect with the new certificate, as `connect` does, before it replaces the old one: to HOST, or to the
    /// brokers in tedge.toml
    #[arg(long, value_name = "HOST[:PORT]")]
    #[allow(clippy::option_option)] // with or without a value
    try_connect: Option<Option<String>>,

    /// PEM or DER file with the CA certificates that verify the broker's [default: root_cert_path in tedge.toml]
    #[arg(long, value_name = "FILE")]
    try_ca: Option<PathBuf>,

    /// MQTT client id [default: the certificate's common name]
    #[arg(long, value_name = "ID")]
    try_client_id: Option<String>,

    /// User name for MQTT
    #[arg(long, value_name = "NAME")]
    try_username: Option<String>,

    /// File with the user's password for MQTT
    #[arg(long, value_name = "FILE", requires = "try_username")]
    try_password_file: Option<PathBuf>,

    /// Application protocol to offer (ALPN); may be repeated
    #[arg(long, value_name = "NAME")]
    try_alpn: Vec<String>,
}

/// Where a certificate is tried, and how.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) brokers: Vec<Broker>,
    /// The certificate's common name without.
    pub(crate) client_id: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) alpn: Vec<String>,
    pub(crate) proxies: ProxySettings,
    pub(crate) post_quantum: PostQuantum,
    pub(crate) limit: Duration,
}

impl Args {
    /// The trial that is asked for; without the option, the one that `is_needed`, or none.
    pub(crate) fn trial(
        self,
        is_needed: bool,
        proxies: &ProxySettings,
        post_quantum: PostQuantum,
        limit: Duration,
    ) -> anyhow::Result<Option<Trial>> {
        if self.try_connect.is_none() && !is_needed {
            return Ok(None);
        }
        let host = self.try_connect.clone().flatten();
        self.trial_with(host.as_deref(), proxies, post_quantum, limit)
            .map(Some)
    }

    /// The trial that is asked for; without the option, one at `host`, whose certificate is verified with `ca`.
    pub(crate) fn trial_at(
        mut self,
        host: &str,
        ca: &Path,
        proxies: &ProxySettings,
        post_quantum: PostQuantum,
        limit: Duration,
    ) -> anyhow::Result<Trial> {
        let asked = self.try_connect.clone().flatten();
        if self.try_ca.is_none() && asked.is_none() {
            self.try_ca = Some(ca.to_owned());
        }
        let host = asked.unwrap_or_else(|| host.to_owned());
        self.trial_with(Some(&host), proxies, post_quantum, limit)
    }

    fn trial_with(
        self,
        host: Option<&str>,
        proxies: &ProxySettings,
        post_quantum: PostQuantum,
        limit: Duration,
    ) -> anyhow::Result<Trial> {
        let config = config_dir().join("tedge.toml");
        let is_named = host.is_some() && self.try_ca.is_some();
        // Where the password goes is not for another user to say.
        let connections = match &self.try_password_file {
            Some(_) if is_named => Connections::default(),
            Some(_) => own_connections(&config)?,
            None => read_connections(&config)?,
        };
        let (host, port) = host.map_or((None, PORT), |host| {
            let (host, port) = with_port(host, PORT);
            (Some(host), port)
        });
        let ca = self.try_ca.as_deref();
        let brokers = brokers(connections, &Root::default(), host.as_deref(), port, ca);
        if brokers.is_empty() {
            bail!(
                "no broker is known to try the new certificate with: give --try-connect HOST, or set c8y.url, \
                 az.url or aws.url in {}",
                config.display()
            );
        }
        Ok(Trial {
            brokers,
            client_id: self.try_client_id,
            username: self.try_username,
            password_file: self.try_password_file,
            alpn: self.try_alpn,
            proxies: proxies.clone(),
            post_quantum,
            limit,
        })
    }
}

impl Trial {
    /// Connects to each broker with `key` and the certificate in the file `cert`, to the point where the broker has
    /// accepted the MQTT client. A session that the broker keeps for this client id stays as it is, and so do the
    /// messages that wait in it.
    pub(crate) fn run(&self, key: &Arc<dyn PrivateKey>, cert: &Path) -> anyhow::Result<()> {
        let client_id = match &self.client_id {
            Some(id) => id.clone(),
            None => certificate::read_chain(cert)?[0]
                .common_name()
                .with_context(|| {
                    format!(
                        "the certificate in {} has no common name; give --try-client-id",
                        cert.display()
                    )
                })?,
        };
        let password = match &self.password_file {
            Some(path) => Some(Pin::read_file(path).context("--try-password-file")?),
            None => None,
        };
        for broker in &self.brokers {
            let trust = own_file::trust_for(&broker.ca, password.is_some())?;
            let server = tls::Server {
                host: &broker.host,
                port: broker.port,
                cert,
                trust: &trust,
                alpn: &self.alpn,
                proxies: &self.proxies,
                post_quantum: self.post_quantum,
            };
            let login = self.username.as_deref();
            let login = login.map(|user| (user, password.as_ref()));
            let tried = tls::connect(&server, key.clone(), self.limit).and_then(|handshake| {
                if handshake.signature.is_none() {
                    bail!("it asked for no certificate, so this says nothing about the new one");
                }
                Mqtt::connect(handshake.stream, &client_id, login, Session::Kept)
            });
            tried
                .with_context(|| {
                    format!(
                        "the trial connection to {} port {} with {} failed",
                        broker.host,
                        broker.port,
                        cert.display()
                    )
                })?
                .disconnect();
        }
        Ok(())
    }
}

/// What tedge.toml says, if it is root's or of the user of this process.
fn own_connections(config: &Path) -> anyhow::Result<Connections> {
    let cure = "no password goes where it says. Name the broker by --try-connect HOST and its CAs by --try-ca";
    let Some(content) = own_file::read_or(config, MAX_SETTINGS, cure)? else {
        return Ok(Connections::default());
    };
    let text = std::str::from_utf8(&content);
    let text = text.with_context(|| format!("{} is not UTF-8", config.display()))?;
    Ok(parse_connections(text, config)?)
}

/// The folder of tedge.toml.
pub(crate) fn config_dir() -> PathBuf {
    let given = std::env::var_os("TEDGE_CONFIG_DIR").filter(|dir| !dir.is_empty());
    given.map_or_else(|| DEFAULT_CONFIG_DIR.into(), PathBuf::from)
}

/// IANA's secure-mqtt.
const PORT: u16 = 8883;
