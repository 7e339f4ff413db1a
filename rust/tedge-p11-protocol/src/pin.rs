//! A PIN: wiped from memory when dropped, never printed.

use std::fmt;
use std::fs::Metadata;
use std::path::Path;

use subtle::ConstantTimeEq;
use tedge_file::{FileError, Problem};
use zeroize::Zeroizing;

/// A PIN of a token's user or security officer. It is never empty; it is wiped when dropped, and
/// its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

/// Why there is no PIN where one was expected.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The PIN is the empty string.
    #[error("the PIN is empty")]
    Empty,
    /// The file that should hold the PIN can't be read.
    #[error("cannot read the PIN from {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: FileError,
    },
    /// Others may read or write it.
    #[error(
        "{0} holds a PIN or password and may be read or written by others than its owner: chmod 600 it"
    )]
    NotPrivate(String),
    /// What is in the file is not UTF-8.
    #[error("cannot read the PIN from {0}: it is not UTF-8")]
    NotText(String),
    /// The file holds more than a PIN.
    #[error("{path} holds more than {max} bytes: not a PIN")]
    TooLong {
        /// The file.
        path: String,
        /// Most bytes a PIN file may have.
        max: usize,
    },
}

impl Pin {
    /// Takes the PIN out of `text`, which is not left anywhere else.
    pub fn new(text: String) -> Result<Self, PinError> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(PinError::Empty);
        }
        Ok(Self(text))
    }

    /// Reads a file that holds the PIN and nothing else but, perhaps, one end of line. Nobody but its owner may be
    /// allowed to read or write it.
    pub fn read_file(path: &Path) -> Result<Self, PinError> {
        Self::read(path, |file| {
            use std::os::unix::fs::PermissionsExt as _;
            let of_others = file.permissions().mode() & 0o077;
            // A pipe or a terminal that was passed to this process has no content that others could read.
            !file.is_file() || of_others == 0
        })
    }

    /// The same for a credential of systemd's, whose folder nobody else may enter: the mode of the file shows the
    /// access control list that is there for the service's user.
    pub fn read_credential(path: &Path) -> Result<Self, PinError> {
        Self::read(path, |_| true)
    }

    /// Of a file that `may_be`; asked once it is open, so that it is the one that is read.
    fn read(path: &Path, may_be: impl Fn(&Metadata) -> bool) -> Result<Self, PinError> {
        let unreadable = |error: FileError| match error.problem() {
            Problem::TooLarge { limit } => PinError::TooLong {
                path: shown(path),
                max: *limit,
            },
            _ => PinError::Unreadable {
                path: shown(path),
                error,
            },
        };
        let file = tedge_file::open(path).map_err(unreadable)?;
        if !may_be(file.metadata()) {
            return Err(PinError::NotPrivate(shown(path)));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.read_into(&mut bytes, MAX_FILE_LEN)
            .map_err(unreadable)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| PinError::NotText(shown(path)))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Self::new(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// The PIN itself, for the one call that hands it to a token or writes it into a frame.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Pin {
    /// Takes the same time wherever two PINs of one length differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Pin {}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// A path may come from a URI, where an escape can stand for the end of a line.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    path.replace(char::is_control, "\u{fffd}")
}

/// Longest PIN file in bytes. PKCS#11 tokens take up to 255 bytes at most.
const MAX_FILE_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let pin = Pin::new("hunter2".into()).unwrap();
        assert_eq!(format!("{pin:?} {:?}", Some(&pin)), "Pin(..) Some(Pin(..))");
    }

    #[test]
    fn a_path_is_shown_in_one_line() {
        let error = Pin::read_file(Path::new("/nowhere\nMAINPID=1")).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().contains("/nowhere\u{fffd}MAINPID=1"));
    }

    #[test]
    fn empty_is_no_pin() {
        assert!(matches!(Pin::new(String::new()), Err(PinError::Empty)));
    }
}
