//! Files that are written whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use anyhow::Context as _;

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
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    tempfile::NamedTempFile::new_in(folder(&path))
        .map(|_| ())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let old = match std::fs::metadata(path) {
        // A device or a pipe is written to, not replaced.
        Ok(old) if !old.is_file() => {
            let mut file = File::options().write(true).open(path)?;
            return file.write_all(content);
        }
        Ok(old) => Some((path.canonicalize()?, old)),
        Err(_) => None,
    };
    let path = old.as_ref().map_or(path, |(path, _)| path);
    let dir = folder(path);
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    let new = file.as_file();
    new.set_permissions(Permissions::from_mode(0o644))?;
    if let Some((_, old)) = &old {
        let made = new.metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
    }
    new.sync_all()?;
    file.persist(path)?;
    // The new name is on the disk only when the folder is.
    File::open(dir)?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
