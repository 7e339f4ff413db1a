//! Files that say what is done with a secret: they count only if root, or who runs this, wrote them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use tedge_file::FileError;
use zeroize::Zeroizing;

use crate::settings_file::is_own;

/// Reads a file that belongs to root or to the user of this process and that nobody else may write; none if it is not
/// there. User tedge can put any file into a folder of his.
pub(crate) fn read(path: &Path, limit: usize) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    let failed = |error: FileError| {
        anyhow::Error::from(error).context(format!("cannot read {}", path.display()))
    };
    let file = match tedge_file::open(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !is_own(file.metadata()) {
        bail!(
            "{} belongs to {}, or others may write it: it is not relied on here. Run this as that user, or have root \
             look at it and take it over (chown root:root, chmod go-w)",
            path.display(),
            tedge_file::user(file.metadata().uid())
        );
    }
    let mut content = Zeroizing::new(Vec::new());
    file.read_into(&mut content, limit).map_err(failed)?;
    Ok(Some(content))
}

/// Whether a file is not there, or is one that [`read`] takes.
pub(crate) fn is_relied_on(path: &Path) -> anyhow::Result<bool> {
    match tedge_file::open(path) {
        Ok(file) => Ok(is_own(file.metadata())),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
