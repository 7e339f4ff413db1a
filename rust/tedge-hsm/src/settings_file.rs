//! The settings of our units: lines of the form KEY=VALUE with keys that are known, in a folder where only root
//! may write.
//!
//! systemd's EnvironmentFile= would set any variable, LD_PRELOAD too, and PID 1 would read the file with all
//! its rights, wherever a link leads. Older versions had these files in /etc/tedge, which is often user tedge's.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tedge_file::{FileError, MAX_SETTINGS};

use crate::root::Root;

/// What a file sets.
#[derive(Debug)]
pub(crate) struct SettingsFile {
    values: BTreeMap<&'static str, String>,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: FileError },
    #[error("{0}")]
    Moved(&'static Moved),
    #[error(
        "{0} may be written by users other than root: check its content as root, then replace it by a copy of root with mode 644"
    )]
    OfOthers(PathBuf),
    #[error("cannot read {0}: it is not UTF-8")]
    NotText(PathBuf),
    #[error("{path}, line {line}: this is not of the form KEY=VALUE")]
    NoSetting { path: PathBuf, line: usize },
    #[error("{path}, line {line}: there is no such setting; known are {known}")]
    Unknown {
        path: PathBuf,
        line: usize,
        known: String,
    },
}

impl SettingsFile {
    /// Reads `path`, where the settings `known` may be. It must belong to root, or to the user of this process,
    /// and be closed to other writers.
    pub(crate) fn read(path: &Path, known: &[&'static str]) -> Result<Self, SettingsError> {
        let file = tedge_file::open(path).map_err(|error| unreadable(path, error))?;
        if !is_own(file.metadata()) {
            return Err(SettingsError::OfOthers(path.to_owned()));
        }
        let mut text = Vec::new();
        file.read_into(&mut text, MAX_SETTINGS)
            .map_err(|error| unreadable(path, error))?;
        let text = String::from_utf8(text).map_err(|_| SettingsError::NotText(path.to_owned()))?;
        Self::parse(&text, path, known)
    }

    /// What `key` is set to. An empty value counts as unset.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let value = self.values.get(key)?;
        (!value.is_empty()).then_some(value)
    }

    /// The last of several lines with one key holds, as with systemd.
    fn parse(text: &str, path: &Path, known: &[&'static str]) -> Result<Self, SettingsError> {
        let mut values = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            let Some((key, value)) = text.split_once('=') else {
                let path = path.to_owned();
                return Err(SettingsError::NoSetting { path, line });
            };
            let Some(key) = known.iter().find(|known| **known == key.trim_end()) else {
                return Err(SettingsError::Unknown {
                    path: path.to_owned(),
                    line,
                    known: known.join(", "),
                });
            };
            values.insert(*key, unquoted(value.trim()).to_owned());
        }
        Ok(Self { values })
    }
}

/// Settings that are elsewhere since a version.
#[derive(Debug)]
pub(crate) struct Moved {
    old: &'static str,
    new: &'static str,
}

/// Root's own folder: whoever may write in it may have root do things.
pub(crate) const SETTINGS_FOLDER: &str = "/etc/tedge-hsm";
/// Where the settings of tedge-hsm-renew.service are.
const RENEWAL: &str = "/etc/tedge-hsm/renew.conf";

const MOVED: [Moved; 2] = [
    Moved {
        old: "/etc/tedge/tedge-hsm-renew.env",
        new: RENEWAL,
    },
    Moved {
        old: "/etc/tedge/tedge-hsm-provision.conf",
        new: "/etc/tedge-hsm/provision.conf",
    },
];

impl Moved {
    /// Those of which there is an old file and no new one.
    pub(crate) fn left_behind(root: &Root) -> impl Iterator<Item = &'static Self> {
        let there = |path| root.path(path).symlink_metadata().is_ok();
        MOVED
            .iter()
            .filter(move |moved| there(moved.old) && !there(moved.new))
    }

    /// What is wrong.
    pub(crate) fn what(&self) -> String {
        format!(
            "{} is not read any more, because users other than root may write in its folder",
            self.old
        )
    }

    /// What to do about it.
    pub(crate) fn cure(&self) -> String {
        let Self { old, new } = self;
        format!("write {new} anew, with what {old} should say, then rm {old}")
    }
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "there is no {}, and {}: {}",
            self.new,
            self.what(),
            self.cure()
        )
    }
}

fn unreadable(path: &Path, error: FileError) -> SettingsError {
    let moved = Moved::left_behind(&Root::default()).find(|moved| Path::new(moved.new) == path);
    match moved.filter(|_| error.is_not_found()) {
        Some(moved) => SettingsError::Moved(moved),
        None => SettingsError::Unreadable {
            path: path.to_owned(),
            error,
        },
    }
}

/// Whether a file belongs to root or to the user of this process, and nobody else may write it.
pub(crate) fn is_own(file: &Metadata) -> bool {
    is_owner(file) && file.mode() & 0o022 == 0
}

/// Whether a file belongs to root or to the user of this process.
pub(crate) fn is_owner(file: &Metadata) -> bool {
    [0, geteuid().as_raw()].contains(&file.uid())
}

/// systemd lets a value be in quotes.
fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KNOWN: [&str; 2] = ["TOKEN", "OPTIONS"];

    fn parse(text: &str) -> Result<SettingsFile, String> {
        SettingsFile::parse(text, Path::new("x.conf"), &KNOWN).map_err(|error| error.to_string())
    }

    #[test]
    fn known_keys_are_read() {
        let file = parse("# LD_PRELOAD=x\n\nTOKEN=a\n TOKEN = 'b c'\r\nOPTIONS=\n").unwrap();
        assert_eq!(file.get("TOKEN"), Some("b c"));
        assert_eq!(file.get("OPTIONS"), None);
    }

    #[test]
    fn anything_else_is_an_error_that_quotes_nothing() {
        for (text, expected) in [
            (
                "TOKEN=a\nLD_PRELOAD=/tmp/own.so\n",
                "x.conf, line 2: there is no such setting; known are TOKEN, OPTIONS",
            ),
            (
                "root:$y$secret:::\n",
                "x.conf, line 1: this is not of the form KEY=VALUE",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.conf");
        std::fs::write(&path, "TOKEN=a").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        SettingsFile::read(&path, &KNOWN).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let refused = SettingsFile::read(&path, &KNOWN).unwrap_err();
        assert!(matches!(refused, SettingsError::OfOthers(_)), "{refused}");
        if geteuid().is_root() {
            std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            let refused = SettingsFile::read(&path, &KNOWN).unwrap_err();
            assert!(matches!(refused, SettingsError::OfOthers(_)), "{refused}");
        }
    }
}
