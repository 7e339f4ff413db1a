//! What is known of the device's certificate, for who watches: when it ends, and how its renewal and the replacement of its
//! key go. All of it is read from files beside it; nobody is asked.

use std::path::{Path, PathBuf};

use tedge_p11_config::{DEFAULT_CERTIFICATE, read_certificate_path};

use crate::certificate::{self, Certificate};
use crate::renewal_record::RenewalRecord;
use crate::rotation::record::{Record, unix_time};
use crate::try_connect::config_dir;

/// The certificate that tedge.toml names, and what is beside it.
pub(crate) struct Identity {
    pub(crate) path: PathBuf,
    /// None if it is not there, or can't be read.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) renewal: RenewalRecord,
    /// Of the key, if one is under way.
    pub(crate) rotation: Option<Record>,
}

impl Identity {
    pub(crate) fn look() -> Self {
        let config = config_dir();
        let path = read_certificate_path(&config);
        Self::look_at(&path.unwrap_or_else(|_| config.join(DEFAULT_CERTIFICATE)))
    }

    fn look_at(path: &Path) -> Self {
        let chain = certificate::read_chain(path).ok();
        Self {
            path: path.to_owned(),
            certificate: chain.and_then(|chain| chain.into_iter().next()),
            renewal: RenewalRecord::look(path),
            rotation: Record::look(path),
        }
    }

    /// What needs a look.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let has_ended =
            |certificate: &&Certificate| certificate.not_after().as_secs() < unix_time();
        if let Some(certificate) = self.certificate.as_ref().filter(has_ended) {
            problems.push(format!(
                "{} has expired on {}",
                self.path.display(),
                certificate.validity().1
            ));
        }
        if let (Some(error), FAILURES..) = (&self.renewal.error, self.renewal.failures) {
            problems.push(format!(
                "the certificate could not be renewed {} times in a row: {error}",
                self.renewal.failures
            ));
        }
        if let Some(error) = self
            .rotation
            .as_ref()
            .and_then(|rotation| rotation.error.as_ref())
        {
            problems.push(format!("the key is being replaced: {error}"));
        }
        problems
    }
}

/// So many may come of one bad day at the CA.
const FAILURES: u32 = 4;
