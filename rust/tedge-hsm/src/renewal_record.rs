//! What became of the last renewals, in a file beside the certificate: for the pause after a failure, and for who watches.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tedge_file::printable;

use crate::renewal_plan::Failures;
use crate::{file, record_file};

/// Times are seconds of the Unix epoch.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct RenewalRecord {
    /// When a certificate was last renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renewed: Option<u64>,
    /// When that was last tried.
    #[serde(default)]
    pub(crate) tried: u64,
    /// How often it has failed since it last worked.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl RenewalRecord {
    /// The record beside the certificate `cert`, whoever wrote it: nothing is done by it but to wait, which the plan limits.
    /// Its text is one line. One that is none says nothing.
    pub(crate) fn look(cert: &Path) -> Self {
        let record: Option<Self> = record_file::look(&path(cert));
        let mut record = record.unwrap_or_default();
        record.error = record.error.as_deref().map(one_line);
        record
    }

    /// It has worked at `now`.
    pub(crate) fn succeeded(&mut self, now: u64) {
        *self = Self {
            renewed: Some(now),
            tried: now,
            ..Self::default()
        };
    }

    /// It has failed at `now`.
    pub(crate) fn failed(&mut self, now: u64, error: &str) {
        self.tried = now;
        self.failures = self.failures.saturating_add(1);
        self.error = Some(one_line(error));
    }

    /// Writes it; it is on the disk when this returns.
    pub(crate) fn write(&self, cert: &Path) -> anyhow::Result<()> {
        record_file::write(&path(cert), self, 0o644)
    }

    /// For the plan.
    pub(crate) fn failures(&self) -> Failures {
        Failures {
            count: self.failures,
            last: self.tried,
        }
    }
}

/// In the certificate's folder, which who renews may write to.
fn path(cert: &Path) -> PathBuf {
    file::beside(cert, ".renewal")
}

fn one_line(text: &str) -> String {
    printable(&text.chars().take(MAX_ERROR).collect::<String>())
}

/// Characters.
const MAX_ERROR: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let cert = dir.path().join("device.pem");
        let mut record = RenewalRecord::look(&cert);
        assert_eq!(record, RenewalRecord::default());
        record.failed(5, "no\nroute\x1b[2J");
        record.failed(7, "no route");
        record.write(&cert).unwrap();
        record = RenewalRecord::look(&cert);
        assert_eq!(
            (record.failures, record.tried, record.renewed),
            (2, 7, None)
        );
        record.succeeded(9);
        record.write(&cert).unwrap();
        assert_eq!(RenewalRecord::look(&cert), record);
        record.failed(11, "later");
        assert_eq!((record.failures, record.renewed), (1, Some(9)));
        for text in [
            "",
            "[]",
            "{\"failures\": -1}",
            "{\"failures\": 4294967296}",
            "{\"error\": \"a\\nb\\u001b[2J\", \"tried\": 3, \"more\": 1}",
        ] {
            std::fs::write(path(&cert), text).unwrap();
            let error = RenewalRecord::look(&cert).error.unwrap_or_default();
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
