//! What differs from cloud to cloud, and what each has to work with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tedge_p11_client::PrivateKey;
use tedge_proxy::ProxySettings;

use super::record::Record;
use super::waiting::Waiting;
use crate::certificate::Certificate;
use crate::document::{self, Extras};
use crate::key_type::KeyType;
use crate::keys::Keys;
use crate::names::Names;

/// A cloud, or a CA, that a device is enrolled with. Each method may be called again by a later run, after one that was
/// cut off: what is done already is to be found done.
pub(crate) trait Cloud {
    /// What the record and the bridge's configuration call it, such as `aws`: of letters, digits, `-` and `_`.
    fn name(&self) -> &str;

    /// Where it is. A record of an enrolment elsewhere is not gone on with.
    fn server(&self) -> String;

    /// Looks whether all can be done, as far as that shows before anything is changed.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Whether the device connects to a broker of the cloud's.
    fn has_broker(&self) -> bool {
        true
    }

    /// Whether the bridge has rules for it.
    fn has_preset(&self) -> bool {
        true
    }

    /// The type that a new key is to have, where the cloud has a say in it and the operator has named none.
    fn key_type(&self) -> anyhow::Result<Option<KeyType>> {
        Ok(None)
    }

    /// The names that the certificate is asked for with.
    fn names(&self) -> anyhow::Result<Names>;

    /// What else the request is to have.
    fn extras(&self, _key: &dyn PrivateKey) -> anyhow::Result<Extras> {
        Ok(Extras::default())
    }

    /// The device's certificate for `at.key`, with what leads to its CA; it is good as far as the cloud tells whom to
    /// trust. None if the cloud goes by the certificate that is installed.
    fn certificate(&self, at: &mut Enrolment<'_>) -> anyhow::Result<Option<Vec<Certificate>>>;

    /// Makes the device known, once its certificate is installed at `at.cert`.
    fn register(&self, _at: &mut Enrolment<'_>) -> anyhow::Result<()> {
        Ok(())
    }

    /// The broker that the device connects to from then on, if the cloud has one.
    fn connection(&self, at: &Enrolment<'_>) -> anyhow::Result<Option<Connection>>;
}

/// The broker of a cloud, for the bridge's configuration, tedge.toml and the trial connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// One of the bridge's presets.
    pub(crate) preset: Option<&'static str>,
    pub(crate) host: String,
    /// If it is not 8883.
    pub(crate) port: Option<u16>,
    pub(crate) client_id: String,
    /// For MQTT, if it is not what the preset makes of host and client id.
    pub(crate) username: Option<String>,
    /// The user name that the trial connection takes, where the bridge's preset makes its own.
    pub(crate) trial_username: Option<String>,
    pub(crate) alpn: Vec<String>,
    /// File or folder with the CAs of the broker's certificate, if it is not that of --broker-ca.
    pub(crate) ca: Option<PathBuf>,
    /// thin-edge.io's table of tedge.toml whose `url` is to name the host, such as `c8y`.
    pub(crate) tedge_toml_table: Option<&'static str>,
    /// What `url` is to say, if not the host.
    pub(crate) tedge_toml_url: Option<String>,
}

/// An enrolment that is under way.
pub(crate) struct Enrolment<'a> {
    pub(crate) keys: Keys<'a>,
    /// The device's key.
    pub(crate) key: Arc<dyn PrivateKey>,
    /// File of the device's certificate.
    pub(crate) cert: &'a Path,
    /// What connections go through.
    pub(crate) proxies: ProxySettings,
    /// For each request.
    pub(crate) limit: Duration,
    /// For all of it.
    pub(crate) waiting: &'a Waiting,
    pub(super) cloud: &'a dyn Cloud,
    pub(super) record: Record,
}

impl Enrolment<'_> {
    /// The request for the certificate, in PEM; the same one in each run, as servers want it that have yet to decide.
    pub(crate) fn request(&mut self) -> anyhow::Result<String> {
        if let Some(request) = &self.record.request {
            return Ok(request.clone());
        }
        let extras = self.cloud.extras(self.key.as_ref())?;
        let request = document::request_with(self.key.as_ref(), self.cloud.names()?, extras)?;
        self.record.request = Some(request.clone());
        self.save()?;
        Ok(request)
    }

    #[allow(dead_code)] // for the clouds to come
    /// The request is not asked with any more: what it was asked with has been refused for good.
    pub(crate) fn forget_request(&mut self) -> anyhow::Result<()> {
        self.record.request = None;
        self.save()
    }

    #[allow(dead_code)] // for the clouds to come
    /// What the cloud has to know when it goes on. Nobody but the user who enrols can read it.
    pub(crate) fn state(&mut self) -> &mut Map<String, Value> {
        &mut self.record.state
    }

    #[allow(dead_code)] // for the clouds to come
    /// The same, to be read.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.record.state.get(name)?.as_str()
    }

    /// Has all of it on the disk when this returns.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        self.record.write(self.cert)
    }
}
