//! Who a proxy lets through: HTTP Basic authentication (RFC 7617).

use std::fmt;
use std::path::PathBuf;

use base64ct::{Base64, Encoding as _};
use tedge_file::FileError;
use zeroize::Zeroizing;

use crate::error::SettingsError;

/// A user of the proxy's. Its `Debug` shows no password.
#[derive(Clone, Debug)]
pub struct Login {
    user: String,
    password: Password,
}

/// The user's password, or where it is.
#[derive(Clone)]
pub enum Password {
    /// A file that nobody else may read, read for each connection: see [`tedge_file::read_private_text`].
    File(PathBuf),
    /// As it is, wiped from memory when dropped.
    Text(Zeroizing<String>),
}

impl Login {
    /// Fails if the user can't be one (RFC 7617, section 2).
    pub fn new(user: String, password: Password) -> Result<Self, SettingsError> {
        if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
            return Err(SettingsError::User);
        }
        if let Password::Text(text) = &password {
            if text.contains(char::is_control) {
                return Err(SettingsError::Password);
            }
        }
        Ok(Self { user, password })
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The value of Proxy-Authorization.
    pub(crate) fn header(&self) -> Result<Zeroizing<String>, LoginError> {
        let read;
        let password = match &self.password {
            Password::Text(text) => text.as_str(),
            Password::File(path) => {
                let text = tedge_file::read_private_text(path, MAX_PASSWORD);
                read = Zeroizing::new(text.map_err(|error| LoginError::File(path.clone(), error))?);
                read.trim_end_matches(['\r', '\n'])
            }
        };
        if password.contains(char::is_control) {
            return Err(LoginError::Control);
        }
        // Room at once: no copy stays behind.
        let mut login = Zeroizing::new(String::with_capacity(self.user.len() + 1 + password.len()));
        login.push_str(&self.user);
        login.push(':');
        login.push_str(password);
        let encoded = Zeroizing::new(Base64::encode_string(login.as_bytes()));
        let mut header = Zeroizing::new(String::with_capacity(BASIC.len() + encoded.len()));
        header.push_str(BASIC);
        header.push_str(&encoded);
        Ok(header)
    }
}

/// Why there is no password to send.
pub(crate) enum LoginError {
    File(PathBuf, FileError),
    Control,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(..)"),
        }
    }
}

const BASIC: &str = "Basic ";
/// Bytes; a file of up to 4096 bytes is read without a copy.
const MAX_PASSWORD: usize = 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_header_is_that_of_rfc_7617() {
        let text = |text: &str| Password::Text(Zeroizing::new(text.to_owned()));
        let login = Login::new("Aladdin".to_owned(), text("open sesame")).unwrap();
        let header = login.header().ok().unwrap();
        assert_eq!(*header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(
            format!("{login:?}"),
            r#"Login { user: "Aladdin", password: Text(..) }"#
        );
        for user in ["", "a:b", "a\r\nX: y"] {
            assert!(Login::new(user.to_owned(), text("x")).is_err(), "{user:?}");
        }
        assert!(Login::new("a".to_owned(), text("x\r\nY: z")).is_err());
    }

    #[test]
    fn a_file_is_read_each_time_and_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let login = Login::new("Aladdin".to_owned(), Password::File(path.clone())).unwrap();
        assert!(matches!(login.header(), Err(LoginError::File(..))));
        std::fs::write(&path, "open sesame\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            *login.header().ok().unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        std::fs::write(&path, "a\nX: y").unwrap();
        assert!(matches!(login.header(), Err(LoginError::Control)));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let Err(LoginError::File(_, error)) = login.header() else {
            panic!("a file that everybody may read is taken");
        };
        assert!(!error.to_string().contains("sesame"));
    }
}
