//! What is on the disk of an enrolment that is under way, beside the certificate.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{file, record_file};

/// How far an enrolment has come. Each step is recorded before it is taken, and can be taken again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What comes next.
    pub(crate) step: Step,
    /// The cloud's name.
    pub(crate) cloud: String,
    /// Where it is.
    pub(crate) server: String,
    /// The certificate's subject.
    pub(crate) subject: String,
    /// URI of the key, which may not be there yet.
    pub(crate) key: String,
    /// The request that is asked with, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// The cloud's own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) state: Map<String, Value>,
}

/// A step of an enrolment.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Make the key.
    MakeKey,
    /// Ask for the certificate, and put it in its place.
    Certificate,
    /// Make the device known.
    Register,
    /// Write the bridge's configuration, and the cloud's host into tedge.toml.
    Configure,
    /// Connect.
    Try,
}

impl Record {
    /// The record beside the certificate `cert`, if an enrolment is under way.
    pub(crate) fn read(cert: &Path) -> anyhow::Result<Option<Self>> {
        record_file::read(&path(cert), "an enrolment; remove it to begin anew")
    }

    /// Writes it; it is on the disk when this returns. A cloud's state is nobody else's business.
    pub(crate) fn write(&self, cert: &Path) -> anyhow::Result<()> {
        record_file::write(&path(cert), self, 0o600)
    }

    /// The enrolment is over.
    pub(crate) fn remove(cert: &Path) -> anyhow::Result<()> {
        file::remove(&path(cert))
    }
}

impl Step {
    /// What failed, if it fails.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::MakeKey => "the key cannot be made",
            Self::Certificate => "there is no certificate yet",
            Self::Register => "the device is not registered yet",
            Self::Configure => "the bridge is not configured yet",
            Self::Try => "the device has its certificate and cannot connect with it yet",
        }
    }
}

/// Where the record is.
pub(crate) fn path(cert: &Path) -> PathBuf {
    file::beside(cert, ".enrolment")
}
