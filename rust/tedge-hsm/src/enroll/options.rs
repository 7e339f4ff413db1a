//! The options that all clouds share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tedge_p11_client::Uri;
use tedge_p11_config::{DEFAULT_CERTIFICATE, DEFAULT_CONFIG_DIR, ROOT_DIR, bridge_path};
use x509_cert::ext::pkix::name::GeneralName;

use super::own_toml;
use crate::key_type::KeyType;
use crate::machine_id;
use crate::names::{self, Names};
use crate::root::Root;
use crate::try_connect::config_dir;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{post_quantum, proxy};

/// Device, key, files and limits.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The device")]
pub(crate) struct Options {
    /// The device's id: common name of the certificate and MQTT client id, where %m is the machine's id
    #[arg(long, value_name = "NAME", default_value = machine_id::NAME)]
    device_id: String,

    /// Organisation of the certificate's subject
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,

    /// Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated
    #[arg(long, value_name = "NAME", value_parser = names::parse)]
    pub(super) san: Vec<GeneralName>,

    /// URI of the key [default: device.key_uri of tedge.toml, else the key with the label of --key]
    #[arg(long, value_name = "URI", value_parser = UriParser)]
    uri: Option<Uri>,

    /// Label of the key, which is made if it is not there [default: tls]
    #[arg(long, value_name = "LABEL", conflicts_with = "uri")]
    key: Option<String>,

    /// Type of a key that is made [default: what the cloud wants, else p256]
    #[arg(long, value_name = "TYPE")]
    pub(super) key_type: Option<KeyType>,

    /// File for the certificate [default: device.cert_path of tedge.toml]
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The bridge's configuration, which gets a table for the cloud [default: /etc/tedge-hsm/tedge-hsm-bridge.toml, or the
    /// one in /etc/tedge if only that is there]
    #[arg(long, value_name = "FILE")]
    bridge: Option<PathBuf>,

    /// Leave the bridge's configuration alone
    #[arg(long)]
    pub(super) no_bridge: bool,

    /// Do not connect to the broker in the end
    #[arg(long)]
    pub(super) no_try: bool,

    /// PEM or DER file with the CA certificates that verify the broker's [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(super) broker_ca: Option<PathBuf>,

    /// Time limit for each request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// Seconds to wait for somebody to let the device in
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    wait: u64,

    #[command(flatten)]
    pub(crate) post_quantum: post_quantum::Args,

    #[command(flatten)]
    pub(crate) proxy: proxy::Args,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

impl Options {
    /// The device's id.
    pub(crate) fn device_id(&self) -> anyhow::Result<String> {
        machine_id::put_in(&self.device_id, &Root::default())
    }

    /// The names that the options give the certificate.
    pub(crate) fn names(&self) -> anyhow::Result<Names> {
        Names::new(
            &self.device_id()?,
            self.organization.as_deref(),
            self.san.clone(),
        )
    }

    /// File or folder with the CAs of the certificates of the cloud's servers.
    pub(super) fn server_ca(&self) -> &Path {
        let given = self.broker_ca.as_deref();
        given.unwrap_or(Path::new("/etc/ssl/certs"))
    }

    /// For each request.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// For all of it.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }

    /// The certificate's file.
    pub(crate) fn cert(&self) -> anyhow::Result<PathBuf> {
        match &self.cert {
            Some(cert) => Ok(cert.clone()),
            None => {
                let path = own_toml::text(&own_toml::read()?, &["device", "cert_path"]);
                Ok(path.map_or_else(|| config_dir().join(DEFAULT_CERTIFICATE), Into::into))
            }
        }
    }

    /// The key's URI, if one is given.
    pub(super) fn key_uri(&self) -> anyhow::Result<Option<Uri>> {
        if self.uri.is_some() || self.key.is_some() {
            return Ok(self.uri.clone());
        }
        // Another user's is not looked at: then the label is what names the key.
        let uri = own_toml::read().ok();
        let uri = uri.and_then(|document| own_toml::text(&document, &["device", "key_uri"]));
        let uri: Option<Uri> = uri.map(|uri| uri.parse()).transpose()?;
        // No file is read because that one says so.
        Ok(uri.map(|uri| Uri { pin: None, ..uri }))
    }

    /// The bridge's configuration.
    pub(super) fn bridge(&self) -> PathBuf {
        let default = || bridge_path(ROOT_DIR.as_ref(), DEFAULT_CONFIG_DIR.as_ref());
        self.bridge.clone().unwrap_or_else(default)
    }

    /// The key's label.
    pub(super) fn key_label(&self) -> &str {
        self.key.as_deref().unwrap_or("tls")
    }
}
