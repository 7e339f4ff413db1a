//! Files that are written whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// Writes `text` to a file that all may read (0644), or to standard output without one.
pub(crate) fn write_or_print(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match path {
        Some(path) => write(path, text.as_bytes()),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

/// Writes a file that all may read (0644); who looks meanwhile sees the old one or the new one, whole.
/// A file that is there keeps its owner and group, and a symbolic link stays one.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails if [`write`] could not write there: for what is dear to make and would be lost.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    Replacement::new(path)
        .map(|_| ())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // A device or a pipe is written to, not replaced.
    if std::fs::metadata(path).is_ok_and(|file| !file.is_file()) {
        return File::options().write(true).open(path)?.write_all(content);
    }
    let mut new = Replacement::new(path)?;
    new.file.write_all(content)?;
    new.file.as_file().sync_all()?;
    new.file.persist(&new.path)?;
    // The new name is on the disk only when the folder is.
    File::open(folder(&new.path))?.sync_all()
}

/// A file that is to take the place of another, with the same owner and group. It is gone when
/// dropped.
struct Replacement {
    file: NamedTempFile,
    /// Where no symbolic link is left.
    path: PathBuf,
}

impl Replacement {
    fn new(path: &Path) -> std::io::Result<Self> {
        let old = std::fs::metadata(path).ok();
        let path = match old {
            Some(_) => path.canonicalize()?,
            None => path.to_owned(),
        };
        let file = NamedTempFile::new_in(folder(&path))?;
        let new = file.as_file();
        new.set_permissions(Permissions::from_mode(0o644))?;
        let made = new.metadata()?;
        if let Some(old) = old.filter(|old| (old.uid(), old.gid()) != (made.uid(), made.gid())) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        Ok(Self { file, path })
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
