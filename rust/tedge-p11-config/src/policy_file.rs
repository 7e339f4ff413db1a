//! Where the policy is read from.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tedge_file::{FileError, MAX_SETTINGS};

use crate::policy::Policy;
use crate::policy_text::{Names as _, TextError};
use crate::user_database::UserDatabase;

/// Name of the policy's file.
pub const POLICY_FILE: &str = "tedge-p11-server.toml";
/// Name of the file with the bridge's configuration.
pub const BRIDGE_FILE: &str = "tedge-hsm-bridge.toml";

/// Why there is no policy to go by.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It can't be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: FileError,
    },
    /// Others could have written it.
    #[error(
        "cannot read {0}: users other than root may write it: check its content as root, then replace it by a copy of root with mode 644"
    )]
    OfOthers(String),
    /// It is not UTF-8.
    #[error("cannot read {0}: it is not UTF-8")]
    NotText(String),
    /// What it says is no policy.
    #[error("{path}, {error}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong.
        error: TextError,
    },
}

/// Where the policy is: in the folder `given` if one was named; else in `of_root`, which is
/// [`ROOT_DIR`](crate::ROOT_DIR), unless only `default` has one.
#[must_use]
pub fn policy_path(given: Option<&Path>, of_root: &Path, default: &Path) -> PathBuf {
    match given {
        Some(folder) => folder.join(POLICY_FILE),
        None => roots_first(POLICY_FILE, of_root, default),
    }
}

/// Where the bridge's configuration is: in `of_root`, which is [`ROOT_DIR`](crate::ROOT_DIR), unless only `default` has one that
/// belongs to root or to the user of this process. Another user's would have the bridge send its passwords anywhere.
#[must_use]
pub fn bridge_path(of_root: &Path, default: &Path) -> PathBuf {
    let path = roots_first(BRIDGE_FILE, of_root, default);
    let own = nix::unistd::geteuid().as_raw();
    match path.symlink_metadata() {
        Ok(found) if !path.starts_with(of_root) && ![0, own].contains(&found.uid()) => {
            of_root.join(BRIDGE_FILE)
        }
        _ => path,
    }
}

/// The file `name` in `of_root`, unless only `default` has one.
#[must_use]
pub fn roots_first(name: &str, of_root: &Path, default: &Path) -> PathBuf {
    let [of_root, default] = [of_root, default].map(|folder| folder.join(name));
    // One that can't be read is there, too, and one in a folder that can't be searched: it is not for others to replace.
    let is_there = |path: &Path| match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    if is_there(&default) && !is_there(&of_root) {
        default
    } else {
        of_root
    }
}

/// The file of the same name in `default` that does not count because there is the one in `path`, which is in `of_root`.
#[must_use]
pub fn shadowed_by(path: &Path, of_root: &Path, default: &Path) -> Option<PathBuf> {
    let other = default.join(path.file_name()?);
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    (path.starts_with(of_root) && is_there(path) && is_there(&other)).then_some(other)
}

/// Reads the policy in `path` for a signer that runs as the user `signer`; a file that is not there
/// means [`Policy::without_file`].
pub fn load(path: &Path, signer: u32) -> Result<Policy, PolicyError> {
    let mut policy = read(path, signer)?;
    policy.file = Some(path.to_owned());
    Ok(policy)
}

fn read(path: &Path, signer: u32) -> Result<Policy, PolicyError> {
    let shown = path.display().to_string();
    let file = match tedge_file::open(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => {
            return Ok(Policy::without_file(UserDatabase.gid(ADMINISTRATORS)));
        }
        Err(error) => return Err(PolicyError::Unreadable { path: shown, error }),
    };
    if !is_own(file.metadata(), signer) {
        return Err(PolicyError::OfOthers(shown));
    }
    let mut text = Vec::new();
    if let Err(error) = file.read_into(&mut text, MAX_SETTINGS) {
        return Err(PolicyError::Unreadable { path: shown, error });
    }
    let Ok(text) = std::str::from_utf8(&text) else {
        return Err(PolicyError::NotText(shown));
    };
    Policy::parse(text, &UserDatabase).map_err(|error| PolicyError::Wrong { path: shown, error })
}

/// A policy that others than root, or than who runs the signer, can write would be theirs to make.
fn is_own(file: &Metadata, signer: u32) -> bool {
    [0, signer].contains(&file.uid()) && file.mode() & 0o022 == 0
}

/// Members may change things on tokens when there is no file.
const ADMINISTRATORS: &str = "tedge-hsm";

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let [root, default] = ["root", "default"].map(|name| dir.path().join(name));
        for folder in [&root, &default] {
            std::fs::create_dir(folder).unwrap();
        }
        (dir, root, default)
    }

    #[test]
    fn the_policy_in_roots_own_folder_goes_before_the_others() {
        let (_dir, root, default) = folders();
        let path = |given| policy_path(given, &root, &default);
        assert_eq!(path(None), root.join(POLICY_FILE));
        std::fs::write(default.join(POLICY_FILE), "").unwrap();
        assert_eq!(path(None), default.join(POLICY_FILE));
        assert_eq!(
            shadowed_by(&default.join(POLICY_FILE), &root, &default),
            None
        );
        assert_eq!(shadowed_by(&root.join(POLICY_FILE), &root, &default), None);
        std::fs::write(root.join(POLICY_FILE), "").unwrap();
        assert_eq!(path(None), root.join(POLICY_FILE));
        let other = shadowed_by(&root.join(POLICY_FILE), &root, &default);
        assert_eq!(other, Some(default.join(POLICY_FILE)));
        assert_eq!(
            path(Some(Path::new("/x"))),
            Path::new("/x").join(POLICY_FILE)
        );
    }

    #[test]
    fn the_bridge_goes_by_no_file_of_another_user() {
        let (_dir, root, default) = folders();
        let theirs = default.join(BRIDGE_FILE);
        std::fs::write(&theirs, "").unwrap();
        assert_eq!(bridge_path(&root, &default), theirs);
        if std::os::unix::fs::chown(&theirs, Some(65534), None).is_err() {
            println!("skipped: giving away a file takes root");
            return;
        }
        assert_eq!(bridge_path(&root, &default), root.join(BRIDGE_FILE));
    }

    #[test]
    fn a_file_of_roots_that_leads_nowhere_is_there() {
        let (_dir, root, default) = folders();
        std::fs::write(default.join(BRIDGE_FILE), "").unwrap();
        std::os::unix::fs::symlink("/none", root.join(BRIDGE_FILE)).unwrap();
        assert_eq!(bridge_path(&root, &default), root.join(BRIDGE_FILE));
    }
}
