//! A PIN: wiped from memory when dropped, never printed.

use std::fmt;
use std::path::Path;

use subtle::ConstantTimeEq;
use tedge_file::{FileError, Opened, Problem};
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
    #[error("{path} holds a PIN or password, and {error}")]
    NotPrivate {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: FileError,
    },
    /// There is something at its beginning or end, or in it, that is no part of a PIN.
    #[error("{path} has {what}, which is no part of a PIN: write it again with printf %s PIN")]
    Stray {
        /// The file.
        path: String,
        /// What it is.
        what: &'static str,
    },
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

    /// Reads a file that holds the PIN and nothing else but, perhaps, ends of lines behind it. Nobody but its owner
    /// may be allowed to read or write it; or it is root's, and the own group of this process may read it.
    pub fn read_file(path: &Path) -> Result<Self, PinError> {
        Self::read(path, |file| {
            file.check_private().map_err(|error| PinError::NotPrivate {
                path: shown(path),
                error,
            })
        })
    }

    /// The same for a credential of systemd's, whose folder nobody else may enter: the mode of the file shows the
    /// access control list that is there for the service's user.
    pub fn read_credential(path: &Path) -> Result<Self, PinError> {
        Self::read(path, |_| Ok(()))
    }

    /// `check` is asked once the file is open, so that it is the one that is read.
    fn read(
        path: &Path,
        check: impl Fn(&Opened) -> Result<(), PinError>,
    ) -> Result<Self, PinError> {
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
        check(&file)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.read_into(&mut bytes, MAX_FILE_LEN)
            .map_err(unreadable)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| PinError::NotText(shown(path)))?;
        let text = text.trim_end_matches(['\r', '\n']);
        // Before a token sees it: each would cost a try of the PIN.
        if let Some(what) = stray(text) {
            return Err(PinError::Stray {
                path: shown(path),
                what,
            });
        }
        Self::new(text.to_owned())
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

/// What is in the text of a PIN file that nobody means to be part of a PIN.
fn stray(text: &str) -> Option<&'static str> {
    let is_mark = |c| matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}');
    if text.starts_with('\u{feff}') {
        return Some("a byte order mark before the PIN");
    }
    if text.contains(['\r', '\n']) {
        return Some("more than one line");
    }
    if text.starts_with(char::is_whitespace) {
        return Some("a blank before the PIN");
    }
    if text.ends_with(char::is_whitespace) {
        return Some("a blank behind the PIN");
    }
    text.contains(|c: char| c.is_control() || is_mark(c))
        .then_some("a character that can't be seen")
}

/// A path may come from a URI, where an escape can stand for the end of a line.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    tedge_file::printable(&path)
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

    #[test]
    fn ends_of_lines_are_no_part_of_a_pin_and_nothing_else_is_taken_away() {
        for end in ["", "\n", "\r\n", "\n\n", "\r\n\r\n"] {
            let (dir, path) = file(&format!("pass word{end}"));
            assert_eq!(Pin::read_file(&path).unwrap().expose(), "pass word");
            drop(dir);
        }
        for (text, what) in [
            ("\u{feff}123456\n", "a byte order mark before the PIN"),
            ("123456 \n", "a blank behind the PIN"),
            ("123456\t", "a blank behind the PIN"),
            ("123456\u{a0}", "a blank behind the PIN"),
            (" 123456", "a blank before the PIN"),
            ("123456\n654321\n", "more than one line"),
            ("\n123456\n", "more than one line"),
            ("123\u{200b}456", "a character that can't be seen"),
            ("123456\0", "a character that can't be seen"),
        ] {
            let (_dir, path) = file(text);
            let error = Pin::read_file(&path).unwrap_err();
            assert!(
                matches!(error, PinError::Stray { what: w, .. } if w == what),
                "{error}"
            );
            assert!(!error.to_string().contains("123"), "{error}");
        }
        let (_dir, path) = file("\n");
        assert!(matches!(Pin::read_file(&path), Err(PinError::Empty)));
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        (dir, path)
    }
}
