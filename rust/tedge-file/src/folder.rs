//! Folders whose files are read, such as /etc/ssl/certs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::error::{FileError, Problem};
use crate::read::read;
use crate::walk::Place;

/// Reads the files in a folder that have at most `limit` bytes all together, with their paths, by their
/// names. What can't be read, or is no regular file, is left out.
pub fn read_folder(path: &Path, limit: usize) -> Result<Vec<(PathBuf, Vec<u8>)>, FileError> {
    let place = Place::find(path)?;
    let failed = |problem: Problem| FileError::at_file(&place.shown, problem);
    let found = place.found.ok_or_else(|| failed(Errno::NOENT.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(failed(Problem::NoFolder));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(&place.folder, &place.name, flags, Mode::empty());
    let folder = folder
        .and_then(Dir::new)
        .map_err(|error| failed(error.into()))?;
    let mut names = Vec::new();
    for entry in folder {
        let entry = entry.map_err(|error| failed(error.into()))?;
        if names.len() == MAX_FILES {
            return Err(failed(Problem::TooMany { limit: MAX_FILES }));
        }
        names.push(entry.file_name().to_bytes().to_owned());
    }
    names.sort();
    let mut files = Vec::new();
    let mut left = limit;
    for name in names {
        // By its path: the names of /etc/ssl/certs are links to elsewhere.
        let path = place.shown.join(OsStr::from_bytes(&name));
        match read(&path, left) {
            Ok(content) => {
                left -= content.len();
                files.push((path, content));
            }
            Err(error) if matches!(error.problem(), Problem::TooLarge { .. }) => {
                return Err(failed(Problem::TooLarge { limit }));
            }
            Err(_) => {}
        }
    }
    Ok(files)
}

/// Of all public CAs, each under two names, there are 300.
const MAX_FILES: usize = 4096;
