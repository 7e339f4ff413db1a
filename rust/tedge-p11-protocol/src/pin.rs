//! A PIN: wiped from memory when dropped, never printed.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use subtle::ConstantTimeEq;
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
        /// What the system said.
        error: std::io::Error,
    },
    /// Others may read it, or it is no file.
    #[error(
        "{0} holds a PIN, and is no file or may be read or written by others than its owner: chmod 600 it"
    )]
    NotPrivate(String),
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

    /// Reads a file that holds the PIN and nothing else but, perhaps, one end of line.
    pub fn read_file(path: &Path) -> Result<Self, PinError> {
        Self::read(path, |_| true)
    }

    /// Of a file that `may_be`; asked once it is open, so that it is the one that is read.
    fn read(path: &Path, may_be: impl Fn(&Metadata) -> bool) -> Result<Self, PinError> {
        let unreadable = |error| PinError::Unreadable {
            path: shown(path),
            error,
        };
        // Reserved at once, so that no copy stays behind when the vector grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_LEN + 1));
        let file = File::open(path).map_err(unreadable)?;
        if !may_be(&file.metadata().map_err(unreadable)?) {
            return Err(PinError::NotPrivate(shown(path)));
        }
        file.take(MAX_FILE_LEN as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() > MAX_FILE_LEN {
            return Err(PinError::TooLong {
                path: shown(path),
                max: MAX_FILE_LEN,
            });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            unreadable(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "not UTF-8",
            ))
        })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Self::new(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// Like [`read_file`](Self::read_file), but refuses a file that anybody else than its owner may
    /// read or write.
    pub fn read_private_file(path: &Path) -> Result<Self, PinError> {
        use std::os::unix::fs::PermissionsExt as _;
        // One that nobody writes to would be waited for.
        if std::fs::metadata(path).is_ok_and(|file| !file.is_file()) {
            return Err(PinError::NotPrivate(shown(path)));
        }
        Self::read(path, |file| {
            let of_others = file.permissions().mode() & 0o077;
            of_others == 0
        })
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
        let error = Pin::read_private_file(Path::new("/nowhere\nMAINPID=1")).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().contains("/nowhere\u{fffd}MAINPID=1"));
    }

    #[test]
    fn empty_is_no_pin() {
        assert!(matches!(Pin::new(String::new()), Err(PinError::Empty)));
    }
}
