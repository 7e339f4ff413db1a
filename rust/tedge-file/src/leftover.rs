//! Temporary files whose program was killed, or lost its power, before they took the place of another.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// A name that no other temporary file has.
pub(crate) fn random_name() -> Result<OsString, Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{PREFIX}{:016x}{SUFFIX}", u64::from_ne_bytes(bytes)).into())
}

/// Keeps a new temporary file from [`remove_leftovers`] for as long as it is open. False if that was quicker: then it has
/// no name any more, or is about to lose it.
pub(crate) fn keep(file: &File) -> bool {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => false,
        // Where there are no locks, no leftovers are removed.
        Ok(()) | Err(_) => file.metadata().is_ok_and(|found| found.nlink() > 0),
    }
}

/// Removes the temporary files in `folder` that no program has open. One that cannot be removed stays.
pub(crate) fn remove_leftovers(folder: &File) {
    let Ok(entries) = Dir::read_from(folder) else {
        return;
    };
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let name = entry.file_name();
        // Locked until it is gone: who has made it just now sees that, and makes another one.
        if let Some(_lock) = is_temporary(name).then(|| lock(folder, name)).flatten() {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

fn is_temporary(name: &CStr) -> bool {
    let number = name.to_str().ok().and_then(|name| {
        let name = name.strip_prefix(PREFIX)?;
        name.strip_suffix(SUFFIX)
    });
    number.is_some_and(|n| n.len() == 16 && n.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The file, locked, if no program has it locked.
fn lock(folder: &File, name: &CStr) -> Option<File> {
    // Somebody else may have put a FIFO there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty()).ok()?);
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let is_locked = is_file && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    is_locked.then_some(file)
}

const PREFIX: &str = ".tedge-hsm-";
const SUFFIX: &str = ".tmp";
/// Who puts more files into a folder of ours has other aims.
const MAX_ENTRIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::{Attributes, write};

    #[test]
    fn a_write_removes_what_another_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { dir.path().join(name) };
        let leftover = path(".tedge-hsm-0123456789abcdef.tmp");
        let others = [
            path(".tedge-hsm-0123456789abcde.tmp"),
            path(".tedge-hsm-0123456789abcdeg.tmp"),
            path("tedge-hsm-0123456789abcdef.tmp"),
        ];
        for path in others.iter().chain([&leftover]) {
            fs::write(path, "half").unwrap();
        }
        let link = path(".tedge-hsm-1123456789abcdef.tmp");
        std::os::unix::fs::symlink(&others[0], &link).unwrap();
        write(&path("x"), b"new", Attributes::Keep { mode: 0o600 }).unwrap();
        assert!(!leftover.exists());
        assert!(others.iter().all(|other| other.exists()));
        assert!(link.is_symlink());
        assert_eq!(fs::read(path("x")).unwrap(), b"new");
    }

    #[test]
    fn one_that_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = File::open(dir.path()).unwrap();
        let busy = dir.path().join(random_name().unwrap());
        let file = File::create(&busy).unwrap();
        assert!(keep(&file));
        remove_leftovers(&folder);
        assert!(busy.exists());
        drop(file);
        remove_leftovers(&folder);
        assert!(!busy.exists());
    }

    #[test]
    fn one_that_was_taken_for_a_leftover_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(random_name().unwrap());
        let file = File::create(&path).unwrap();
        remove_leftovers(&File::open(dir.path()).unwrap());
        assert!(!keep(&file));
    }
}
