//! `--check`: whether what a configuration names is there, and what the bridge would do. The brokers are not asked.

use std::fmt;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::process::geteuid;
use tedge_proxy::{Problem, Proxy};

use crate::connect::login;
use crate::error::ConnectError;
use crate::profile::{Address, Configuration, Profile};
use crate::tls;

/// What was found, one line for each.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The bridge can't do its work.
    pub(crate) failures: Vec<String>,
    /// It can, but should not be left like this.
    pub(crate) warnings: Vec<String>,
}

/// Opens what the configuration in `path` names, and asks the signer for the keys.
pub(crate) fn check(path: &Path, configuration: &Configuration) -> Findings {
    let mut findings = Findings::default();
    // Whoever writes it chooses where the device's messages go.
    if let Some(mode) = mode(path).filter(|mode| mode & 0o002 != 0) {
        findings.warn(
            "",
            path,
            format_args!("everybody may write it (mode {mode:04o})"),
        );
    }
    for profile in configuration {
        findings.profile(profile);
    }
    findings
}

/// What the bridge would do with the configuration.
pub(crate) fn summary(configuration: &Configuration) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let rules = configuration
        .iter()
        .map(|profile| profile.out.len() + profile.into.len());
    format!(
        "{}, {}",
        count(configuration.len(), "cloud"),
        count(rules.sum(), "rule")
    )
}

impl Findings {
    fn profile(&mut self, profile: &Profile) {
        let name = format!("[cloud.{}] ", profile.name);
        // The CA's certificates, the signer and its key, and the certificate for that key.
        if let Err(error) = tls::check(&profile.tls) {
            self.failures.push(format!("{name}{error}"));
        }
        if let Some(Err(error)) = profile.cloud.proxy.as_ref().map(Proxy::check) {
            match error.problem() {
                Problem::PasswordFile { path, .. } if may_be_the_services(path) => {
                    self.warn("[proxy] ", path, format_args!("{MAYBE}"));
                }
                _ => self.fail(error.to_string()),
            }
        }
        for (table, broker) in [(&*name, &profile.cloud), ("[local] ", &profile.local)] {
            match login(broker) {
                Err(ConnectError::Password { path, .. }) if may_be_the_services(&path) => {
                    self.warn(table, &path, format_args!("{MAYBE}"));
                }
                Err(error) => self.fail(format!("{table}{error}")),
                Ok(_) => {}
            }
        }
        if let Address::Unix(path) = &profile.local.address {
            match std::fs::metadata(path) {
                Ok(found) if found.file_type().is_socket() => {}
                Ok(_) => self.fail(format!("[local] {} is no socket", path.display())),
                Err(error) => self.fail(format!("[local] socket {}: {error}", path.display())),
            }
        }
    }

    /// What several clouds share is told once.
    fn fail(&mut self, failure: String) {
        if !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    fn warn(&mut self, table: &str, path: &Path, what: fmt::Arguments<'_>) {
        let warning = format!("{table}{}: {what}", path.display());
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

const MAYBE: &str = "its group may read it; whether that is the service's, root can't tell: \
                     runuser -u tedge-hsm-bridge -- tedge-hsm-bridge --check";

/// Whether it is a file of root's that a group may read, and it is root who asks: the service's own group may.
fn may_be_the_services(path: &Path) -> bool {
    let is_of_group =
        |file: std::fs::Metadata| file.uid() == 0 && matches!(file.mode() & 0o777, 0o640 | 0o440);
    geteuid().is_root() && std::fs::metadata(path).is_ok_and(is_of_group)
}

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.mode() & 0o7777)
}
