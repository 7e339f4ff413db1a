//! Files that are written whole or not at all.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::descriptor::{self, DESCRIPTOR_TIME};
use crate::error::{FileError, Problem, irregular};
use crate::leftover::{keep, random_name, remove_leftovers};
use crate::walk::Place;

/// Whose a file is, and who else may read or write it.
#[derive(Clone, Copy, Debug)]
pub enum Attributes {
    /// A file that is there keeps its owner, group and mode, unless it is root's in another user's folder: see below. A new
    /// one belongs to the user of this process; but what
    /// root writes in another user's folder is that user's, who can rename it: root's files there would be taken for what
    /// root has looked at. Only [`Edited`](crate::Edited) leaves root's file to root there, since it has read what it changes.
    Keep {
        /// Mode of a new file, such as 0o644, whatever the umask is.
        mode: u32,
    },
    /// These, whether a file was there or not.
    Set {
        /// Mode, such as 0o600, whatever the umask is.
        mode: u32,
        /// User id and group id; those of this process without.
        owner: Option<(u32, u32)>,
    },
}

/// Writes a file. Who looks meanwhile sees the old one or the new one, whole, and the new one is on the disk
/// when this returns. A symbolic link that leads to the file stays one; but a link is an error if another user could
/// have given it this name.
pub fn write(path: &Path, content: &[u8], attributes: Attributes) -> Result<(), FileError> {
    if let Some(number) = descriptor::number(path) {
        let deadline = Instant::now() + DESCRIPTOR_TIME;
        return descriptor::for_writing(number)
            .and_then(|file| descriptor::write(&file, content, deadline))
            .map_err(|problem| FileError::at_file(path, problem));
    }
    let target = Target::find(path)?;
    let attributes = target.for_foreign_content(attributes)?;
    target.fill(content, attributes)?.replace()
}

/// Writes a file that is not there yet. It belongs to the user of this process and has `mode`. A file that
/// is there is left as it is, and is an error of the kind [`AlreadyExists`](std::io::ErrorKind::AlreadyExists).
pub fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let target = Target::find(path)?;
    target.check_link()?;
    if target.place.found.is_some() {
        return Err(target.failed(Errno::EXIST));
    }
    let attributes = Attributes::Set { mode, owner: None };
    target.fill(content, attributes)?.create()
}

/// Fails if [`write`] could not write there: for what is dear to make and would be lost.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    match descriptor::number(path) {
        Some(number) => descriptor::for_writing(number)
            .map(drop)
            .map_err(|problem| FileError::at_file(path, problem)),
        None => Target::find(path)?
            .temporary(Attributes::Keep { mode: 0o600 })
            .map(drop),
    }
}

/// A place for a regular file, in a folder that is open so that it can be synced.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) place: Place,
    folder: File,
}

impl Target {
    pub(crate) fn find(path: &Path) -> Result<Self, FileError> {
        let place = Place::find(path)?;
        let kind = place
            .found
            .map(|found| FileType::from_raw_mode(found.st_mode));
        if let Some(kind) = kind.and_then(irregular) {
            return Err(FileError::at_file(&place.shown, Problem::Kind(kind)));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&place.folder, ".", flags, Mode::empty()).map_err(|error| {
            FileError::at_folder(place.shown.parent().unwrap_or(Path::new(".")), error)
        })?;
        Ok(Self {
            place,
            folder: folder.into(),
        })
    }

    pub(crate) fn fill(
        &self,
        content: &[u8],
        attributes: Attributes,
    ) -> Result<Temporary<'_>, FileError> {
        let temporary = self.temporary(attributes)?;
        let mut file = &temporary.file;
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .map_err(|error| self.failed(error))?;
        Ok(temporary)
    }

    /// A file that is to take the place. It gets its owner and mode while it is empty: who may not read the
    /// one can't read the other.
    fn temporary(&self, attributes: Attributes) -> Result<Temporary<'_>, FileError> {
        let temporary = Temporary::new(self)?;
        let file = &temporary.file;
        let (mode, owner) = match (attributes, &self.place.found) {
            (Attributes::Keep { .. }, Some(old)) => {
                (old.st_mode & 0o777, Some((old.st_uid, old.st_gid)))
            }
            (Attributes::Keep { mode }, None) => (mode, self.owner_of_new()?),
            (Attributes::Set { mode, owner }, _) => (mode, owner),
        };
        let own = file.metadata().map_err(|error| self.failed(error))?;
        if let Some((uid, gid)) = owner.filter(|owner| *owner != (own.uid(), own.gid())) {
            match fchown(file, Some(uid), Some(gid)) {
                // Who may not give files away, and may exchange them here, has one of his own instead.
                Err(error)
                    if matches!(attributes, Attributes::Keep { .. })
                        && error.kind() == ErrorKind::PermissionDenied => {}
                other => other.map_err(|error| self.failed(error))?,
            }
        }
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(|error| self.failed(error))?;
        Ok(temporary)
    }

    /// Root's own file in another user's folder would vouch for what is written into it, under any name that this user
    /// gives it: it becomes that user's.
    fn for_foreign_content(&self, attributes: Attributes) -> Result<Attributes, FileError> {
        self.check_link()?;
        let (Attributes::Keep { .. }, Some(old)) = (attributes, &self.place.found) else {
            return Ok(attributes);
        };
        let mode = old.st_mode & 0o777;
        Ok(match self.owner_of_new()? {
            Some(owner) if old.st_uid == 0 => Attributes::Set {
                mode,
                owner: Some(owner),
            },
            _ => attributes,
        })
    }

    /// Fails if a link led here that another user may have given its name.
    fn check_link(&self) -> Result<(), FileError> {
        match &self.place.moved_link {
            Some((link, owner)) => Err(FileError::at_folder(
                link,
                Problem::MovedLink { owner: *owner },
            )),
            None => Ok(()),
        }
    }

    fn owner_of_new(&self) -> Result<Option<(u32, u32)>, FileError> {
        let folder = self.folder.metadata().map_err(|error| self.failed(error))?;
        let is_of_another = geteuid().is_root() && folder.uid() != 0;
        Ok(is_of_another.then(|| (folder.uid(), folder.gid())))
    }

    pub(crate) fn failed(&self, problem: impl Into<Problem>) -> FileError {
        FileError::at_file(&self.place.shown, problem)
    }
}

/// A file beside the one that it is to become; it is removed when dropped before that.
pub(crate) struct Temporary<'a> {
    target: &'a Target,
    name: Option<OsString>,
    file: File,
}

impl<'a> Temporary<'a> {
    fn new(target: &'a Target) -> Result<Self, FileError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        remove_leftovers(&target.folder);
        loop {
            let name = random_name().map_err(|error| target.failed(error))?;
            let file = match openat(&target.folder, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(target.failed(error)),
            };
            if keep(&file) {
                return Ok(Self {
                    target,
                    name: Some(name),
                    file,
                });
            }
        }
    }

    /// Takes the place of what is there.
    pub(crate) fn replace(self) -> Result<(), FileError> {
        self.put(|folder, new, name| renameat(folder, new, folder, name))
    }

    /// Takes the place if nothing is there.
    pub(crate) fn create(self) -> Result<(), FileError> {
        self.put(|folder, new, name| {
            match renameat_with(folder, new, folder, name, RenameFlags::NOREPLACE) {
                // File systems that do not know this flag know hard links.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    linkat(folder, new, folder, name, AtFlags::empty())?;
                    unlinkat(folder, new, AtFlags::empty())
                }
                other => other,
            }
        })
    }

    fn put(
        mut self,
        rename: impl Fn(&File, &OsString, &OsString) -> Result<(), Errno>,
    ) -> Result<(), FileError> {
        let folder = &self.target.folder;
        if let Some(new) = &self.name {
            rename(folder, new, &self.target.place.name)
                .map_err(|error| self.target.failed(error))?;
        }
        self.name = None;
        // The new name is on the disk only when the folder is.
        folder.sync_all().map_err(|error| self.target.failed(error))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = unlinkat(&self.target.folder, name, AtFlags::empty());
        }
    }
}
