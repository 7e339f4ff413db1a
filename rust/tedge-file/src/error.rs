//! Why a file was not opened, read or written.

use crate::text::printable;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::geteuid;

/// What is wrong with a file, and at which component of its path. Its text is one line, and names the
/// component if that is another than the file itself; the file is for the caller to name.
#[derive(Debug)]
pub struct FileError {
    component: PathBuf,
    is_file: bool,
    problem: Problem,
}

/// What is wrong.
#[derive(Debug)]
pub enum Problem {
    /// What the system said.
    System(io::Error),
    /// A symbolic link belongs neither to root nor to the user that this process runs as.
    Link {
        /// The user id of the link's owner.
        owner: u32,
    },
    /// A symbolic link is in a folder in which another user may rename files.
    MovedLink {
        /// The user id of the folder's owner.
        owner: u32,
    },
    /// More symbolic links than the kernel follows, too.
    TooManyLinks,
    /// It is no regular file.
    Kind(FileKind),
    /// There is a file where a folder is expected.
    NoFolder,
    /// It has more bytes than are taken.
    TooLarge {
        /// Most bytes that are taken.
        limit: usize,
    },
    /// It is a folder with more files than are looked at.
    TooMany {
        /// Most files that are looked at.
        limit: usize,
    },
    /// Others than its owner may read or write it, and it holds a secret.
    NotPrivate {
        /// The user id that this process runs as.
        uid: u32,
    },
    /// Whoever is at the other end of a pipe or terminal neither wrote nor read for too long.
    Slow,
    /// It is not UTF-8.
    NotText,
    /// Another file has taken its place since it was read.
    Changed,
}

/// What is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A FIFO, also called a named pipe.
    Fifo,
    /// A character or block device.
    Device,
    /// A UNIX socket.
    Socket,
}

impl FileError {
    /// The component of the path that is wrong, a symbolic link perhaps; the whole path where it is the file itself.
    #[must_use]
    pub fn component(&self) -> &Path {
        &self.component
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Whether there is no such file, or no folder that it could be in.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(&self.problem, Problem::System(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether somebody else has the lock.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(&self.problem, Problem::System(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn at_folder(component: &Path, problem: impl Into<Problem>) -> Self {
        Self {
            component: component.to_owned(),
            is_file: false,
            problem: problem.into(),
        }
    }

    pub(crate) fn at_file(component: &Path, problem: impl Into<Problem>) -> Self {
        Self {
            component: component.to_owned(),
            is_file: true,
            problem: problem.into(),
        }
    }
}

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let component = shown(&self.component);
        match &self.problem {
            Problem::Link { owner } => write!(
                f,
                "{component} is a symbolic link of {}, which {} does not follow: name the file that it leads to, or \
                 remove the link",
                user(*owner),
                user(geteuid().as_raw())
            ),
            Problem::MovedLink { owner } => write!(
                f,
                "{component} is a symbolic link in a folder of {}, who may have given it this name: remove the link",
                user(*owner)
            ),
            problem if self.is_file => problem.fmt(f),
            problem => write!(f, "{component}: {problem}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Link { owner } => write!(f, "it is a symbolic link of {}", user(*owner)),
            Self::MovedLink { owner } => {
                write!(f, "it is a symbolic link in a folder of {}", user(*owner))
            }
            Self::TooManyLinks => f.write_str("too many symbolic links lead to each other"),
            Self::Kind(kind) => write!(f, "it is no regular file, but a {kind}"),
            Self::NoFolder => f.write_str("it is no folder"),
            Self::TooLarge { limit } => {
                write!(f, "it has more than {limit} bytes, which is too long")
            }
            Self::TooMany { limit } => write!(f, "there are more than {limit} files in it"),
            Self::NotPrivate { uid } => write!(
                f,
                "it may be read or written by users other than its owner: chmod 600 it{}",
                not_root(*uid)
            ),
            Self::Slow => f.write_str("the other end of it was waited for in vain"),
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Changed => {
                f.write_str("somebody else has written it meanwhile: run this once more")
            }
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "folder",
            Self::Fifo => "FIFO",
            Self::Device => "device",
            Self::Socket => "socket",
        })
    }
}

impl From<Errno> for Problem {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// `None` for a regular file. A link has been followed before.
pub(crate) fn irregular(kind: FileType) -> Option<FileKind> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some(FileKind::Folder),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        _ => Some(FileKind::Device),
    }
}

/// What a user who is not root can be given.
fn not_root(uid: u32) -> &'static str {
    match uid {
        0 => "",
        _ => {
            ", and make it this user's; or make it root's, of this user's own group, and chmod 640 it"
        }
    }
}

/// In one line: a path may come from a file or a URI that somebody else wrote.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    printable(&path)
}

/// What a person calls the user with this id: `root`, `user eve`, or `uid 1001` for a user without a name.
#[must_use]
pub fn user(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = std::fs::read_to_string("/etc/passwd");
    let passwd = passwd.unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then_some(name)
    });
    name.map_or_else(|| format!("uid {uid}"), |name| format!("user {name}"))
}
