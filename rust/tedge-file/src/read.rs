//! Files that are read.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::descriptor::{self, DESCRIPTOR_TIME};
use crate::error::{FileError, Problem, irregular};
use crate::walk::Place;

/// Reads a file that has at most `limit` bytes.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    open(path)?.read_into(&mut content, limit)?;
    Ok(content)
}

/// Reads a file of UTF-8 that has at most `limit` bytes.
pub fn read_text(path: &Path, limit: usize) -> Result<String, FileError> {
    text_of(open(path)?, limit)
}

/// The same for a file that nobody else may read or write: see [`Opened::check_private`].
pub fn read_private_text(path: &Path, limit: usize) -> Result<String, FileError> {
    let file = open(path)?;
    file.check_private()?;
    text_of(file, limit)
}

pub(crate) fn text_of(file: Opened, limit: usize) -> Result<String, FileError> {
    let path = file.path.clone();
    let mut content = Vec::new();
    file.read_into(&mut content, limit)?;
    String::from_utf8(content).map_err(|_| FileError::at_file(&path, Problem::NotText))
}

/// Opens a file, for who wants to look at its owner or mode before he reads it.
pub fn open(path: &Path) -> Result<Opened, FileError> {
    if let Some(number) = descriptor::number(path) {
        let failed = |problem| FileError::at_file(path, problem);
        let file = descriptor::for_reading(number).map_err(failed)?;
        return Opened::new(file, path);
    }
    Opened::at(&Place::find(path)?)
}

/// An open file: a regular one, or what was passed to this process.
#[derive(Debug)]
pub struct Opened {
    file: File,
    metadata: Metadata,
    path: PathBuf,
}

impl Opened {
    /// The regular file that is at `place` at this moment.
    pub(crate) fn at(place: &Place) -> Result<Self, FileError> {
        let failed = |problem: Problem| FileError::at_file(&place.shown, problem);
        let found = place.found.ok_or_else(|| failed(Errno::NOENT.into()))?;
        // Before it is opened: some devices do something then.
        if let Some(kind) = irregular(FileType::from_raw_mode(found.st_mode)) {
            return Err(failed(Problem::Kind(kind)));
        }
        // And after that: it may have been exchanged.
        let file = openat(&place.folder, &place.name, READ, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        let found = fstat(&file).map_err(|error| failed(error.into()))?;
        if let Some(kind) = irregular(FileType::from_raw_mode(found.st_mode)) {
            return Err(failed(Problem::Kind(kind)));
        }
        Self::new(file.into(), &place.shown)
    }

    fn new(file: File, path: &Path) -> Result<Self, FileError> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| FileError::at_file(path, error))?;
        Ok(Self {
            file,
            metadata,
            path: path.to_owned(),
        })
    }

    /// Its owner, mode and kind, as they were when it was opened.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn stat(&self) -> Result<Stat, FileError> {
        fstat(&self.file).map_err(|error| FileError::at_file(&self.path, error))
    }

    /// Fails with [`Problem::NotPrivate`] unless nobody but its owner may read or write it; or it is root's, and the
    /// own group of this process may read it. A pipe or a terminal that was passed to this process has no content
    /// that others could read.
    pub fn check_private(&self) -> Result<(), FileError> {
        let may_be = !self.metadata.is_file() || is_private(&self.metadata, own_group());
        let uid = geteuid().as_raw();
        may_be
            .then_some(())
            .ok_or_else(|| FileError::at_file(&self.path, Problem::NotPrivate { uid }))
    }

    /// Appends what is in it to `content`, if that is not more than `limit` bytes. Room is made once, so that
    /// with a limit of up to 4096 bytes no copy of a secret stays behind in memory.
    pub fn read_into(self, content: &mut Vec<u8>, limit: usize) -> Result<(), FileError> {
        let failed = |problem: Problem| FileError::at_file(&self.path, problem);
        let deadline = Instant::now() + DESCRIPTOR_TIME;
        let before = content.len();
        // One more, by which too many are noticed.
        let most = limit.saturating_add(1);
        let expected = usize::try_from(self.metadata.len()).unwrap_or(usize::MAX);
        content.reserve_exact(expected.max(CHUNK).min(limit).saturating_add(1));
        loop {
            let len = content.len();
            let room = match content.capacity() - len {
                0 => CHUNK,
                room => room,
            };
            let next = room.min(most - (len - before));
            if next == 0 {
                return Err(failed(Problem::TooLarge { limit }));
            }
            content.resize(len + next, 0);
            let read = if self.metadata.is_file() {
                (&self.file)
                    .read(&mut content[len..])
                    .map_err(Problem::System)
            } else {
                descriptor::read(&self.file, &mut content[len..], deadline)
            };
            let read = match read {
                Err(Problem::System(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
                    content.truncate(len);
                    continue;
                }
                other => other.map_err(failed)?,
            };
            content.truncate(len + read);
            if read == 0 {
                return Ok(());
            }
        }
    }
}

/// Whether nobody but its owner may read or write a file; or it is root's, and the group `group` may read it.
#[must_use]
pub fn is_private(file: &Metadata, group: Option<u32>) -> bool {
    let of_others = file.mode() & 0o077;
    of_others == 0 || (of_others == 0o040 && file.uid() == 0 && Some(file.gid()) == group)
}

/// The group of this process; root needs none to read a file.
fn own_group() -> Option<u32> {
    (!geteuid().is_root()).then(|| getegid().as_raw())
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// Bytes that room is made for when a file tells no size.
const CHUNK: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn the_own_group_may_read_roots_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "secret").unwrap();
        if !geteuid().is_root() {
            println!("skipped: giving away a file takes root");
            return;
        }
        for (mode, owner, gid, private) in [
            (0o640, 0, 7, true),
            (0o440, 0, 7, true),
            (0o600, 0, 8, true),
            (0o640, 0, 8, false),
            (0o640, 9, 7, false),
            (0o660, 0, 7, false),
            (0o644, 0, 7, false),
        ] {
            chown(&path, Some(owner), Some(gid)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let is = is_private(&path.metadata().unwrap(), Some(7));
            assert_eq!(is, private, "{mode:o} {owner}:{gid}");
        }
    }
}
