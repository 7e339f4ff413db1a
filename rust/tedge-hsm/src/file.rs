//! Files that are written whole or not at all.

use std::fs::{File, Metadata, Permissions};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tempfile::NamedTempFile;

/// Writes `text` to a file that all may read (0644), or to standard output without one.
pub(crate) fn write_or_print(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match path {
        Some(path) => write(path, text.as_bytes()),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

/// Writes a file that all may read (0644); who looks meanwhile sees the old one or the new one, whole.
/// A file that is there keeps its owner and group, and a symbolic link stays one. Root follows no link
/// of another user, who could lead it to any file.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails if [`write`] could not write there: for what is dear to make and would be lost.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    Place::find(path)
        .and_then(|place| place.replacement().map(|_| ()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let place = Place::find(path)?;
    // A device or a pipe is written to, not replaced.
    if place.old.as_ref().is_some_and(|old| !old.is_file()) {
        let mut options = File::options();
        options.write(true).custom_flags(NOFOLLOW);
        return options.open(place.entry())?.write_all(content);
    }
    let mut new = place.replacement()?;
    new.write_all(content)?;
    new.as_file().sync_all()?;
    new.persist(place.entry())?;
    // The new name is on the disk only when the folder is.
    place.folder.sync_all()
}

/// Where a file is to be: an entry of an open folder, so that it stays the same one while others rename
/// what leads there.
struct Place {
    folder: File,
    name: PathBuf,
    /// What is there, which is no symbolic link.
    old: Option<Metadata>,
}

impl Place {
    fn find(path: &Path) -> Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some(name) = path.file_name() else {
                return Err(Error::new(ErrorKind::IsADirectory, "it is a folder"));
            };
            let parent = folder(&path);
            let mut place = Self {
                folder: File::open(parent)?,
                name: name.into(),
                old: None,
            };
            match place.entry().symlink_metadata() {
                Ok(link) if link.is_symlink() => {
                    if geteuid().is_root() && link.uid() != 0 {
                        return Err(Error::new(
                            ErrorKind::PermissionDenied,
                            "it is a symbolic link of another user, which root does not follow",
                        ));
                    }
                    path = parent.join(std::fs::read_link(place.entry())?);
                }
                Ok(old) => {
                    place.old = Some(old);
                    return Ok(place);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(place),
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            "too many symbolic links",
        ))
    }

    fn directory(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.folder.as_raw_fd()).into()
    }

    fn entry(&self) -> PathBuf {
        self.directory().join(&self.name)
    }

    /// A file that is to take the place, with the same owner and group. It is gone when dropped.
    fn replacement(&self) -> Result<NamedTempFile> {
        let file = NamedTempFile::new_in(self.directory())?;
        let new = file.as_file();
        new.set_permissions(Permissions::from_mode(0o644))?;
        let made = new.metadata()?;
        let differs = |old: &&Metadata| (old.uid(), old.gid()) != (made.uid(), made.gid());
        if let Some(old) = self.old.as_ref().filter(differs) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        Ok(file)
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[allow(clippy::cast_possible_wrap)] // as the kernel has it
const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;

    #[test]
    fn replaces_what_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let [link, other, file] = ["link", "other", "file"].map(|name| dir.path().join(name));
        symlink("other", &link).unwrap();
        symlink(&file, &other).unwrap();
        write(&link, b"new").unwrap();
        write(&link, b"newer").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"newer");
        assert!(other.is_symlink() && link.is_symlink());
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        write(Path::new("/dev/null"), b"new").unwrap();
        write(dir.path(), b"new").unwrap_err();
    }

    #[test]
    fn root_follows_no_link_of_another_user() {
        if !geteuid().is_root() {
            println!("skipped: giving away a link takes root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let [link, file] = ["link", "file"].map(|name| dir.path().join(name));
        std::fs::write(&file, b"old").unwrap();
        symlink(&file, &link).unwrap();
        lchown(&link, Some(65534), None).unwrap();
        let error = format!("{:#}", write(&link, b"new").unwrap_err());
        assert!(error.contains("which root does not follow"), "{error}");
        check_writable(&link).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), b"old");
        chown(&file, Some(65534), Some(65534)).unwrap();
        write(&file, b"new").unwrap();
        let written = file.metadata().unwrap();
        assert_eq!((written.uid(), written.gid()), (65534, 65534));
    }
}
