//! One process at a time.

use std::fs::File;
use std::os::unix::fs::fchown;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, linkat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::error::{FileError, Problem, irregular};
use crate::leftover::{keep, random_name};
use crate::walk::Place;

/// A lock that one process has at a time, and that nobody can take but root and the user who owns the folder: flock(2)
/// asks for no more than an open descriptor, so that everybody could lock a folder that everybody may read.
///
/// It is a file, which is removed with the lock. One that a power cut has left behind does no harm.
#[derive(Debug)]
pub struct Lock {
    place: Place,
    /// Locked until it is closed.
    file: File,
    stays: bool,
}

impl Lock {
    /// Takes the lock in the file `path`, or returns none if another process has it.
    pub fn try_take(path: &Path) -> Result<Option<Self>, FileError> {
        match Self::take(path, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.is_busy() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Takes the lock in the file `path`, once the process that has it lets it go.
    pub fn wait(path: &Path) -> Result<Self, FileError> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    /// The file stays when the lock is let go: in a folder that a run which finds all done leaves as it is.
    #[must_use]
    pub fn with_file_left(mut self) -> Self {
        self.stays = true;
        self
    }

    fn take(path: &Path, operation: FlockOperation) -> Result<Self, FileError> {
        loop {
            let place = Place::find(path)?;
            let failed = |problem: Problem| FileError::at_file(&place.shown, problem);
            let opened = openat(&place.folder, &place.name, THERE, Mode::empty());
            let file = match opened.map(File::from) {
                Ok(file) => file,
                Err(Errno::NOENT) => match make(&place).map_err(|error| failed(error.into()))? {
                    Some(file) => return Ok(Self::new(place, file)),
                    // Somebody else was quicker.
                    None => continue,
                },
                // Root's, from when the folder was root's: who has it now may remove it.
                Err(Errno::ACCESS) if is_own(&place).map_err(|error| failed(error.into()))? => {
                    unlinkat(&place.folder, &place.name, AtFlags::empty())
                        .map_err(|error| failed(error.into()))?;
                    continue;
                }
                Err(error) => return Err(failed(error.into())),
            };
            let look = || fstat(&file).map_err(|error| failed(error.into()));
            if let Some(kind) = irregular(FileType::from_raw_mode(look()?.st_mode)) {
                return Err(failed(Problem::Kind(kind)));
            }
            flock(&file, operation).map_err(|error| failed(error.into()))?;
            // The one who had it may have removed it meanwhile.
            if look()?.st_nlink > 0 {
                return Ok(Self::new(place, file));
            }
        }
    }

    fn new(place: Place, file: File) -> Self {
        Self {
            place,
            file,
            stays: false,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let (folder, name) = (&self.place.folder, &self.place.name);
        let there = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let own = fstat(&self.file);
        if there.is_ok_and(|there| own.is_ok_and(|own| own.st_ino == there.st_ino)) {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

/// Makes the file, locked, or returns none if there is one. It gets its name when it is the folder's owner's, who could
/// not take a leftover of root's.
fn make(place: &Place) -> Result<Option<File>, Errno> {
    let temporary = random_name()?;
    let new = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(
        &place.folder,
        &temporary,
        new,
        Mode::RUSR | Mode::WUSR,
    )?);
    let linked = give_to_owner(place, &file).and_then(|()| {
        if !keep(&file) {
            return Err(Errno::EXIST);
        }
        let (folder, name) = (&place.folder, &place.name);
        linkat(folder, &temporary, folder, name, AtFlags::empty())
    });
    let _ = unlinkat(&place.folder, &temporary, AtFlags::empty());
    match linked {
        Ok(()) => Ok(Some(file)),
        Err(Errno::EXIST) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the folder is this user's, and this user is not root, who may open everything.
fn is_own(place: &Place) -> Result<bool, Errno> {
    let user = geteuid();
    Ok(!user.is_root() && fstat(&place.folder)?.st_uid == user.as_raw())
}

fn give_to_owner(place: &Place, file: &File) -> Result<(), Errno> {
    let folder = fstat(&place.folder)?;
    if geteuid().is_root() && folder.st_uid != 0 {
        let given = fchown(file, Some(folder.st_uid), Some(folder.st_gid));
        given.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    }
    Ok(())
}

/// It may be a FIFO, or a link to a file that is dear: nothing of it is changed.
const THERE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_nobody_else_can_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let lock = Lock::try_take(&path).unwrap().unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        drop(lock);
        assert!(!path.exists());
        // As a power cut leaves it.
        fs::write(&path, "").unwrap();
        assert!(Lock::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn who_waits_has_it_next_and_none_shares_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let count = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        use std::sync::atomic::Ordering::SeqCst;
                        let _lock = Lock::wait(&path).unwrap();
                        assert_eq!(count.fetch_add(1, SeqCst), 0);
                        std::thread::yield_now();
                        assert_eq!(count.fetch_sub(1, SeqCst), 1);
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_file_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        fs::create_dir(&path).unwrap();
        assert!(Lock::try_take(&path).is_err());
    }
}
