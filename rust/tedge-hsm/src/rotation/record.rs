//! What is on the disk of a rotation that is under way, beside the certificate.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tedge_file::printable;
use tedge_p11_client::Uri;

use crate::key_type::KeyType;
use crate::{file, record_file};

/// How far a rotation has come. Each step is recorded before it is taken, and can be taken again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What comes next.
    pub(crate) step: Step,
    /// Since when, in seconds of the Unix epoch.
    pub(crate) since: u64,
    /// URI of the key that is replaced.
    pub(crate) old_key: String,
    /// URI of the key that replaces it, which may not be there yet.
    pub(crate) new_key: String,
    /// Of the new key.
    pub(crate) key_type: KeyType,
    /// Whether the signer found the old key without any URI, before there was a new one.
    pub(crate) found_by_default: bool,
    /// Why the step could not be taken when that was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Make the new key beside the old one.
    MakeKey,
    /// Ask for its certificate, and put that beside the old one.
    Request,
    /// Connect with the new pair.
    Try,
    /// Let the new certificate take the old one's place.
    Switch,
    /// Run the hook.
    Hook,
    /// Keep the old key until the new one has been used for a time, and connect with the new pair once more.
    KeepOld,
    /// Delete the old key.
    DeleteOld,
}

impl Record {
    /// The record beside the certificate `cert`, if a rotation is under way. It must belong to root or to the user of
    /// this process, and be closed to other writers: it names a key that is to be deleted.
    pub(crate) fn read(cert: &Path) -> anyhow::Result<Option<Self>> {
        let path = record_path(cert);
        let what =
            "a rotation; remove it, and look by tedge-hsm list-keys whether a key was left behind";
        let record: Option<Self> = record_file::read(&path, what)?;
        record
            .map(Self::checked)
            .transpose()
            .with_context(|| format!("{} is no record of {what}", path.display()))
    }

    /// The same for who only wants to know, whoever wrote it: each text is one line.
    pub(crate) fn look(cert: &Path) -> Option<Self> {
        let record: Self = record_file::look(&record_path(cert))?;
        let mut record = record.checked().ok()?;
        record.old_key = printable(&record.old_key);
        record.new_key = printable(&record.new_key);
        record.error = record.error.as_deref().map(printable);
        Some(record)
    }

    fn checked(self) -> anyhow::Result<Self> {
        let (_, new) = (self.old_key()?, self.new_key()?);
        new.id.context("new_key has no id")?;
        Ok(self)
    }

    /// Writes it; it is on the disk when this returns.
    pub(crate) fn write(&self, cert: &Path) -> anyhow::Result<()> {
        record_file::write(&record_path(cert), self, 0o644)
    }

    /// The rotation is over.
    pub(crate) fn remove(cert: &Path) -> anyhow::Result<()> {
        file::remove(&record_path(cert))
    }

    /// Fails if it could not be written.
    pub(crate) fn check_writable(cert: &Path) -> anyhow::Result<()> {
        file::check_writable(&record_path(cert))
    }

    /// What comes next is `step`.
    pub(crate) fn goes_on_with(&mut self, step: Step) {
        self.step = step;
        self.since = unix_time();
        self.error = None;
    }

    pub(crate) fn old_key(&self) -> anyhow::Result<Uri> {
        Ok(self.old_key.parse()?)
    }

    pub(crate) fn new_key(&self) -> anyhow::Result<Uri> {
        Ok(self.new_key.parse()?)
    }
}

/// Where the certificate of the new key is until the switch. thin-edge.io takes up and deletes one that ends with
/// `.new`.
pub(crate) fn next_path(cert: &Path) -> PathBuf {
    file::beside(cert, ".next")
}

/// Seconds of the Unix epoch.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// Where the record is.
pub(crate) fn record_path(cert: &Path) -> PathBuf {
    file::beside(cert, ".rotation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let cert = dir.path().join("device.pem");
        assert!(Record::read(&cert).unwrap().is_none());
        let mut record = Record {
            step: Step::MakeKey,
            since: 1,
            old_key: "pkcs11:token=t;id=%01".to_owned(),
            new_key: "pkcs11:token=t;id=%02".to_owned(),
            key_type: KeyType::P256,
            found_by_default: true,
            error: Some("x".to_owned()),
        };
        record.goes_on_with(Step::KeepOld);
        record.write(&cert).unwrap();
        let read = Record::read(&cert).unwrap().unwrap();
        assert_eq!(read.step, Step::KeepOld);
        assert!(read.error.is_none() && read.since > 1);
        assert_eq!(read.key_type, KeyType::P256);
        for wrong in ["", "{}", "[]", "null"] {
            std::fs::write(record_path(&cert), wrong).unwrap();
            let error = format!("{:#}", Record::read(&cert).unwrap_err());
            assert!(error.contains("is no record of a rotation"), "{error}");
        }
        Record::remove(&cert).unwrap();
        Record::remove(&cert).unwrap();
        assert!(Record::read(&cert).unwrap().is_none());
    }

    #[test]
    fn a_record_of_another_user_is_not_obeyed() {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        let dir = tempfile::tempdir().unwrap();
        let cert = dir.path().join("device.pem");
        let path = record_path(&cert);
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = Record::read(&cert).unwrap_err().to_string();
        assert!(error.contains("others may write it"), "{error}");
        if rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            chown(&path, Some(65534), None).unwrap();
            let error = Record::read(&cert).unwrap_err().to_string();
            assert!(error.contains("run this as that user"), "{error}");
        }
    }
}
