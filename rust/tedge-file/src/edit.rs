//! Files that are read, and written anew with something else in them.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Stat, statat};
use rustix::io::Errno;

use crate::error::{FileError, Problem};
use crate::read::{Opened, text_of};
use crate::write::{Attributes, Target};

/// A file whose text was read, and that is to have another text.
///
/// What is written has the owner, group and mode of the very file that was read, and takes the place of that one only:
/// who moves files about meanwhile can't have his text in a file of root's.
#[derive(Debug)]
pub struct Edited {
    path: PathBuf,
    /// None if there is no folder for it yet.
    target: Option<Target>,
    text: String,
}

impl Edited {
    /// Reads the file, which has at most `limit` bytes of UTF-8; one that is not there has no text.
    pub fn read(path: &Path, limit: usize) -> Result<Self, FileError> {
        let mut text = String::new();
        let path = path.to_owned();
        let mut target = match Target::find(&path) {
            Ok(target) => target,
            Err(error) if error.is_not_found() => {
                let target = None;
                return Ok(Self { path, target, text });
            }
            Err(error) => return Err(error),
        };
        if target.place.found.is_some() {
            let file = Opened::at(&target.place)?;
            target.place.found = Some(file.stat()?);
            text = text_of(file, limit)?;
        }
        let target = Some(target);
        Ok(Self { path, target, text })
    }

    /// What is in it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Has `text` take the place of what was read, whole or not at all, and for good when this returns. A file that
    /// was not there gets `mode`. Fails with [`Problem::Changed`] if another file is there by now.
    pub fn replace(self, text: &str, mode: u32) -> Result<(), FileError> {
        let target = match self.target {
            Some(target) => target,
            None => {
                let mut target = Target::find(&self.path)?;
                // What somebody has put there meanwhile was not read.
                target.place.found = None;
                target
            }
        };
        let new = target.fill(text.as_bytes(), Attributes::Keep { mode })?;
        let place = &target.place;
        let Some(read) = &place.found else {
            return new.create();
        };
        let now = statat(&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW);
        match now {
            Ok(now) if is_same(&now, read) => new.replace(),
            Ok(_) | Err(Errno::NOENT) => Err(target.failed(Problem::Changed)),
            Err(error) => Err(target.failed(error)),
        }
    }
}

/// The same file, and nobody has written to it.
fn is_same(one: &Stat, other: &Stat) -> bool {
    let of = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_mtime, stat.st_mtime_nsec);
    of(one) == of(other)
}
