//! From a path to the entry of a folder that it names, symbolic links followed as far as they may be.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::error::{FileError, Problem};

/// An entry of an open folder: it stays in this folder while others rename what leads there.
#[derive(Debug)]
pub(crate) struct Place {
    /// Opened with O_PATH: only good for opening what is in it.
    pub(crate) folder: OwnedFd,
    pub(crate) name: OsString,
    /// What is there, which is no symbolic link.
    pub(crate) found: Option<Stat>,
    /// The symbolic link with the path's last name, if another user may have given it that.
    pub(crate) moved_link: Option<(PathBuf, u32)>,
    /// Where it is, for people.
    pub(crate) shown: PathBuf,
}

impl Place {
    /// The file may be missing, its folder not.
    pub(crate) fn find(path: &Path) -> Result<Self, FileError> {
        if path.as_os_str().is_empty() {
            return Err(FileError::at_file(path, Errno::NOENT));
        }
        let (mut folder, mut walked) = start(path)?;
        let mut rest = names(path);
        let mut links = 0;
        let mut moved_link = None;
        loop {
            let name = rest.pop().unwrap_or_else(|| ".".into());
            let is_last = rest.is_empty();
            let shown = walked.join(&name);
            let failed = |error: Errno| {
                if is_last {
                    FileError::at_file(&shown, error)
                } else {
                    FileError::at_folder(&shown, error)
                }
            };
            let entry = match openat(&folder, &name, ENTRY, Mode::empty()) {
                Ok(entry) => entry,
                Err(Errno::NOENT) if is_last => {
                    return Ok(Self {
                        folder,
                        name,
                        found: None,
                        moved_link,
                        shown,
                    });
                }
                Err(error) => return Err(failed(error)),
            };
            // Of what is open, so that nobody can exchange it in between.
            let found = fstat(&entry).map_err(failed)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(FileError::at_folder(path, Problem::TooManyLinks));
                    }
                    may_follow(found.st_uid, &shown)?;
                    if is_last {
                        let around = fstat(&folder).map_err(failed)?;
                        // Another link may follow, in a folder of root's: this one still counts.
                        if may_rename(&around) {
                            moved_link = Some((shown.clone(), around.st_uid));
                        }
                    }
                    let target = readlinkat(&entry, "", Vec::new()).map_err(failed)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    rest.extend(names(&target));
                    if target.is_absolute() {
                        (folder, walked) = start(&target)?;
                    }
                }
                FileType::Directory if !is_last => {
                    folder = entry;
                    walked = shown;
                }
                _ if is_last => {
                    return Ok(Self {
                        folder,
                        name,
                        found: Some(found),
                        moved_link,
                        shown,
                    });
                }
                _ => return Err(failed(Errno::NOTDIR)),
            }
        }
    }
}

/// Another user could lead this process to any file, by a link that is changed at the right moment.
fn may_follow(owner: u32, link: &Path) -> Result<(), FileError> {
    if owner == 0 || owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(FileError::at_folder(link, Problem::Link { owner }))
}

/// Whether users other than root and the one that this process runs as may rename what is in a folder: whose a link there is
/// does not tell who put it under that name.
fn may_rename(folder: &Stat) -> bool {
    let is_of_others = ![0, geteuid().as_raw()].contains(&folder.st_uid);
    is_of_others || (folder.st_mode & 0o022 != 0 && folder.st_mode & 0o1000 == 0)
}

/// Where a path begins, and what is shown of that.
fn start(path: &Path) -> Result<(OwnedFd, PathBuf), FileError> {
    let (name, shown) = if path.is_absolute() {
        ("/", "/")
    } else {
        (".", "")
    };
    let folder = openat(CWD, name, ENTRY | OFlags::DIRECTORY, Mode::empty());
    let folder = folder.map_err(|error| FileError::at_folder(Path::new(name), error))?;
    Ok((folder, shown.into()))
}

/// The components, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let components = path.components().rev();
    components
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .map(OsStr::to_owned)
        .collect()
}

/// A handle of whatever it is, opened without touching it.
const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
