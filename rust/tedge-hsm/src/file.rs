//! Where what was made goes: to a file that all may read, or to standard output.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tedge_file::{Attributes, FileError, Folder, Lock};

/// Writes `text` to a file that all may read (0644), or to standard output without one.
pub(crate) fn write_or_print(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match path {
        Some(path) => write(path, text.as_bytes()),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

/// Writes a file that all may read (0644); one that is there keeps its owner, group and mode.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    failed(
        path,
        tedge_file::write(path, content, Attributes::Keep { mode: 0o644 }),
    )
}

/// Fails if [`write`] could not write there: for what is dear to make and would be lost.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    failed(path, tedge_file::check_writable(path))
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// One process at a time works on the files of the certificate `cert`, as long as it has what is returned.
pub(crate) fn lock_beside(cert: &Path) -> anyhow::Result<Lock> {
    let path = beside(cert, ".lock");
    let lock = Lock::try_take(&path);
    lock.with_context(|| format!("cannot lock {}", path.display()))?
        .context("another tedge-hsm works on this certificate at this moment")
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = Folder::open(folder(path)).and_then(|folder| {
        folder.remove(path.file_name().unwrap_or_default())?;
        // That it is gone may be forgotten by a power cut: it is removed again, then.
        let _ = folder.file().sync_all();
        Ok(())
    });
    match removed {
        Err(error) if !error.is_not_found() => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The path of another file in the same folder, whose name ends with `suffix`.
pub(crate) fn beside(cert: &Path, suffix: &str) -> PathBuf {
    let mut path = cert.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn failed(path: &Path, result: Result<(), FileError>) -> anyhow::Result<()> {
    result.with_context(|| format!("cannot write {}", path.display()))
}
