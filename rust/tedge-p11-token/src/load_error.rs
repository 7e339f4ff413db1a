//! Why a module cannot be loaded, by what the system says of its file, the dynamic linker of it, or the module of
//! itself.

use std::path::{Path, PathBuf};

use cryptoki::error::Error as CryptokiError;
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::code::Code;
use crate::token_folder::{self, TokenFolderError};

/// Why a module cannot be loaded. Its text does not name the module; more of it is in its source.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The path names no file.
    #[error("there is no such file; correct the path, or install the package that brings it")]
    NoFile,
    /// The user that this process runs as may not read the file.
    #[error(
        "{} may not read it; its owner can let this user do so: chmod a+r {}",
        tedge_file::user(*uid), file.display()
    )]
    Unreadable {
        /// The user.
        uid: u32,
        /// The file.
        file: PathBuf,
    },
    /// The user that this process runs as may not pass through a folder that leads to the file.
    #[error(
        "{} may not enter the folder {}; its owner can let this user do so (chmod a+x {}), or install the \
         module under /usr/lib",
        tedge_file::user(*uid), folder.display(), folder.display()
    )]
    ClosedFolder {
        /// The user.
        uid: u32,
        /// The folder.
        folder: PathBuf,
    },
    /// No code may be run from where the file is.
    #[error(
        "no code may be run from there: it is mounted noexec, or NoExecPaths= of the service covers it; install the \
         module under /usr/lib"
    )]
    NoExec(#[source] Said),
    /// The file is no shared library.
    #[error(transparent)]
    NoLibrary(Said),
    /// The file is for another processor, or for another word size.
    #[error(transparent)]
    OtherArchitecture(Said),
    /// A library that the module needs is missing.
    #[error("the library {library}, which it needs, is missing")]
    MissingLibrary {
        /// What the module calls that library.
        library: String,
        /// In the linker's words.
        #[source]
        said: Said,
    },
    /// The file is a program, or a library without C_GetFunctionList.
    #[error(transparent)]
    NoModule(Said),
    /// The linker does not load it for another reason.
    #[error(transparent)]
    Linker(Said),
    /// `C_Initialize` failed, or the function that tells the others.
    #[error("{function} failed with {code}")]
    Returned {
        /// Name of the function.
        function: String,
        /// What it returned.
        code: Code,
        /// What is wrong with the folder of the module's tokens, if something is.
        #[source]
        folder: Option<TokenFolderError>,
    },
    /// A call on the module failed in another way.
    #[error(transparent)]
    Call(Said),
    /// It is this project's module for programs that use the signer.
    #[error("this is the module for programs that use the signer; name the module of the HSM")]
    Own,
}

/// An error of a library, with its own words.
pub type Said = Box<dyn std::error::Error + Send + Sync>;

impl LoadError {
    /// Why the module in the file `path` could not be loaded or initialised.
    pub(crate) fn new(path: &Path, error: CryptokiError) -> Self {
        match error {
            CryptokiError::LibraryLoading(said) => {
                Self::of_file(path).unwrap_or_else(|| Self::of_linker(path, said.into()))
            }
            CryptokiError::MissingSymbol(_) => Self::NoModule(error.into()),
            CryptokiError::Pkcs11(rv, function) => Self::Returned {
                function: format!("C_{function:?}"),
                code: Code::from(rv),
                folder: token_folder::check(path).err(),
            },
            other => Self::Call(other.into()),
        }
    }

    /// Whether the module was found, and said itself that it cannot work.
    #[must_use]
    pub fn is_by_the_module(&self) -> bool {
        matches!(self, Self::Returned { .. } | Self::Call(_))
    }

    /// What keeps this user from the file. A name without a slash is none: the linker looks for it.
    fn of_file(path: &Path) -> Option<Self> {
        if path.components().count() < 2 {
            return None;
        }
        let uid = geteuid().as_raw();
        match access(path, Access::READ_OK) {
            Err(Errno::NOENT | Errno::NOTDIR) => Some(Self::NoFile),
            Err(Errno::ACCESS) => {
                let mut folders: Vec<_> = path.ancestors().skip(1).collect();
                folders.reverse();
                let closed = folders.into_iter().find(|folder| {
                    !folder.as_os_str().is_empty()
                        && access(*folder, Access::EXEC_OK) == Err(Errno::ACCESS)
                });
                Some(match closed.map(Path::to_owned) {
                    Some(folder) => Self::ClosedFolder { uid, folder },
                    None => Self::Unreadable {
                        uid,
                        file: path.to_owned(),
                    },
                })
            }
            _ => None,
        }
    }

    /// dlerror(3) has a text and no code. This is the only place that reads it: glibc's and musl's.
    fn of_linker(path: &Path, said: Said) -> Self {
        let text = said.to_string();
        let says = |part: &str| text.contains(part);
        if let Some(library) = missing_library(&text).filter(|library| Path::new(library) != path) {
            return Self::MissingLibrary { library, said };
        }
        if says("wrong ELF class") || says("ELFCLASS") || says("wrong architecture") {
            return Self::OtherArchitecture(said);
        }
        if says("invalid ELF header") || says("file too short") || says("Exec format error") {
            return Self::NoLibrary(said);
        }
        if says("position-independent executable") || says("position independent executable") {
            return Self::NoModule(said);
        }
        match statvfs(path) {
            Ok(mount) if mount.f_flag.contains(StatVfsMountFlags::NOEXEC) => Self::NoExec(said),
            _ => Self::Linker(said),
        }
    }
}

/// `NAME: cannot open shared object file: No such file or directory`, or
/// `Error loading shared library NAME: No such file or directory (needed by MODULE)`.
fn missing_library(text: &str) -> Option<String> {
    let (before, _) = text.split_once(": No such file or directory")?;
    let name = before.strip_prefix("Error loading shared library ");
    let name = name.or_else(|| before.strip_suffix(": cannot open shared object file"))?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_linker_says_is_understood() {
        let module = Path::new("/usr/lib/module.so");
        let of = |text: &str| LoadError::of_linker(module, text.into());
        for text in [
            "libgone.so.1: cannot open shared object file: No such file or directory",
            "Error loading shared library libgone.so.1: No such file or directory (needed by /usr/lib/module.so)",
        ] {
            let LoadError::MissingLibrary { library, .. } = of(text) else {
                panic!("{text}");
            };
            assert_eq!(library, "libgone.so.1");
        }
        for (text, expected) in [
            ("/x.so: wrong ELF class: ELFCLASS32", "OtherArchitecture"),
            ("/x.so: invalid ELF header", "NoLibrary"),
            (
                "Error loading shared library /x.so: Exec format error",
                "NoLibrary",
            ),
            (
                "/bin/true: cannot dynamically load position-independent executable",
                "NoModule",
            ),
            ("/x.so: undefined symbol: gone", "Linker"),
        ] {
            let error = of(text);
            assert!(format!("{error:?}").starts_with(expected), "{error:?}");
            assert_eq!(error.to_string(), text);
        }
    }
}
