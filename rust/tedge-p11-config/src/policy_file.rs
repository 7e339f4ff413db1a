//! Where the policy is read from.

use std::path::Path;

use crate::policy::Policy;
use crate::policy_text::{Names as _, TextError};
use crate::regular_file;
use crate::user_database::UserDatabase;

/// Why there is no policy to go by.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It can't be read, or others could have written it.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// What it says is no policy.
    #[error("{path}, {error}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong.
        error: TextError,
    },
}

/// Reads the policy in `path` for a signer that runs as the user `signer`; a file that is not there
/// means [`Policy::without_file`].
pub fn load(path: &Path, signer: u32) -> Result<Policy, PolicyError> {
    match read(path, signer) {
        Ok(text) => Policy::parse(&text, &UserDatabase).map_err(|error| PolicyError::Wrong {
            path: path.display().to_string(),
            error,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Policy::without_file(UserDatabase.gid(ADMINISTRATORS)))
        }
        Err(error) => Err(PolicyError::Unreadable {
            path: path.display().to_string(),
            error,
        }),
    }
}

/// A policy that others than root, or than who runs the signer, can write would be theirs to make.
fn read(path: &Path, signer: u32) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    use std::os::unix::fs::MetadataExt as _;
    let file = regular_file::open(path)?;
    let metadata = file.metadata()?;
    let owners = [0, signer];
    if !owners.contains(&metadata.uid()) || metadata.mode() & 0o022 != 0 {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "others than root may write it: chown root and chmod 644 it",
        ));
    }
    regular_file::read(&file)
}

/// Members may change things on tokens when there is no file.
const ADMINISTRATORS: &str = "tedge-hsm";
