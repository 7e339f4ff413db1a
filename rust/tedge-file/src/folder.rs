//! Folders: what is in them, made in them, and removed from them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::error::{FileError, Problem};
use crate::read::open;
use crate::walk::Place;

/// An open folder: it stays the same one while others rename what leads there. What it is asked to do, it does with
/// entries of its own, and follows no link to do it.
#[derive(Debug)]
pub struct Folder {
    file: File,
    shown: PathBuf,
}

impl Folder {
    /// Opens the folder.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::at(Place::find(path)?)
    }

    /// Opens the folder, and makes it if need be, and the folders that it would be in. Those made have `mode`
    /// without the bits of the umask, and are on the disk when this returns.
    pub fn make(path: &Path, mode: u32) -> Result<Self, FileError> {
        let place = match Place::find(path) {
            Err(error) if error.is_not_found() => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty());
                let Some(above) = above else {
                    return Err(error);
                };
                Self::make(above, mode)?;
                Place::find(path)?
            }
            other => other?,
        };
        if place.found.is_some() {
            return Self::at(place);
        }
        let failed = |error: Errno| FileError::at_folder(&place.shown, error);
        match mkdirat(&place.folder, &place.name, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                let above = openat(&place.folder, ".", FOLDER, Mode::empty()).map_err(failed)?;
                let synced = File::from(above).sync_all();
                synced.map_err(|error| FileError::at_folder(&place.shown, error))?;
            }
            // Somebody else was quicker; what he has put there is looked at once more.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        Self::open(&place.shown)
    }

    /// Makes the folder `name` in this one, with `mode` without the bits of the umask; none if something has that name.
    pub fn make_in(&self, name: &OsStr, mode: u32) -> Result<Option<Self>, FileError> {
        let failed = |error: Errno| self.failed_at(name, error);
        let name = entry(name).map_err(failed)?;
        match mkdirat(&self.file, name, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => return Ok(None),
            done => done.map_err(failed)?,
        }
        self.file.sync_all().map_err(|error| self.failed(error))?;
        let file = openat(&self.file, name, FOLDER, Mode::empty()).map_err(failed)?;
        Ok(Some(Self {
            file: file.into(),
            shown: self.shown.join(name),
        }))
    }

    fn at(place: Place) -> Result<Self, FileError> {
        let failed = |problem: Problem| FileError::at_file(&place.shown, problem);
        let found = place.found.ok_or_else(|| failed(Errno::NOENT.into()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return Err(failed(Problem::NoFolder));
        }
        let folder = openat(&place.folder, &place.name, FOLDER, Mode::empty());
        let folder = folder.map_err(|error| failed(error.into()))?;
        Ok(Self {
            file: folder.into(),
            shown: place.shown,
        })
    }

    /// The folder's own descriptor, to be synced.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The names of what is in it, sorted; fails if there are more than `most`.
    pub fn names(&self, most: usize) -> Result<Vec<OsString>, FileError> {
        let failed = |error: Errno| self.failed(error);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() == most {
                return Err(self.failed(Problem::TooMany { limit: most }));
            }
            names.push(OsString::from_vec(name));
        }
        names.sort();
        Ok(names)
    }

    /// Removes the entry `name`, which is no folder: a link itself, not what it leads to.
    pub fn remove(&self, name: &OsStr) -> Result<(), FileError> {
        let removed = entry(name).and_then(|name| unlinkat(&self.file, name, AtFlags::empty()));
        removed.map_err(|error| self.failed_at(name, error))
    }

    /// Makes the entry `name`, a symbolic link to `target`; on the disk when this returns.
    pub fn link(&self, name: &OsStr, target: &Path) -> Result<(), FileError> {
        let linked = entry(name).and_then(|name| symlinkat(target, &self.file, name));
        linked.map_err(|error| self.failed_at(name, error))?;
        self.file.sync_all().map_err(|error| self.failed(error))
    }

    fn failed(&self, problem: impl Into<Problem>) -> FileError {
        FileError::at_file(&self.shown, problem)
    }

    fn failed_at(&self, name: &OsStr, error: Errno) -> FileError {
        FileError::at_file(&self.shown.join(name), error)
    }
}

/// Reads the files in a folder that have at most `limit` bytes all together, with their paths, by their
/// names. What can't be read, or is no regular file, is left out.
/// So are those of which `is_wanted` says no, by their paths, and by owner and mode of what is open.
pub fn read_folder(
    path: &Path,
    limit: usize,
    is_wanted: impl Fn(&Path, &Metadata) -> bool,
) -> Result<Vec<(PathBuf, Vec<u8>)>, FileError> {
    let folder = Folder::open(path)?;
    let mut files = Vec::new();
    let mut left = limit;
    for name in folder.names(MAX_FILES)? {
        // By its path: the names of /etc/ssl/certs are links to elsewhere.
        let path = folder.shown.join(name);
        let mut content = Vec::new();
        let read = match open(&path) {
            Ok(file) if !is_wanted(&path, file.metadata()) => continue,
            Ok(file) => file.read_into(&mut content, left),
            Err(error) => Err(error),
        };
        match read {
            Ok(()) => {
                left -= content.len();
                files.push((path, content));
            }
            Err(error) if matches!(error.problem(), Problem::TooLarge { .. }) => {
                return Err(folder.failed(Problem::TooLarge { limit }));
            }
            Err(_) => {}
        }
    }
    Ok(files)
}

/// A path would lead elsewhere.
fn entry(name: &OsStr) -> Result<&OsStr, Errno> {
    let is_name = !name.as_bytes().contains(&b'/');
    is_name.then_some(name).ok_or(Errno::INVAL)
}

/// Of all public CAs, each under two names, there are 300.
const MAX_FILES: usize = 4096;
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
