//! What goes wrong between here and the proxy.

use std::io;
use std::path::PathBuf;

use tedge_file::FileError;

use crate::address::AddressError;

/// Why settings say of no proxy how it is to be used. No text has a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The user is empty, or has a colon or a control character.
    #[error("the proxy's user is empty, or has a colon or a control character")]
    User,
    /// The password has a control character.
    #[error("the proxy's password has a control character")]
    Password,
    /// One of user and password is there without the other.
    #[error("the proxy's user and its password go together")]
    Half,
}

/// Why there is no tunnel through a proxy. Its text is one line, names the proxy, and has no password in it.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} {problem}")]
pub struct ProxyError {
    pub(crate) proxy: String,
    pub(crate) problem: Problem,
}

/// What a proxy did, or could not be asked for.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// HTTP 407, and nobody logged in. Its number is here, since some proxies say 401.
    #[error("wants a user and a password (HTTP {0})")]
    WantsLogin(u16),
    /// The same after a login.
    #[error("refuses the user {0} or the password (HTTP {1})")]
    RefusesLogin(String, u16),
    /// The same with no scheme that is known here.
    #[error("wants {0} (HTTP {1}), and only Basic is supported here")]
    OtherScheme(String, u16),
    /// Any other answer.
    #[error("does not connect to {target}: HTTP {status}{}", in_brackets(reason))]
    Refuses {
        /// `HOST:PORT`.
        target: String,
        /// The status code (RFC 9110, section 15).
        status: u16,
        /// Its words, cut.
        reason: String,
    },
    /// What came does not begin as HTTP does, or has a header that is none.
    #[error("does not answer in HTTP: is it an HTTP proxy?")]
    NotHttp,
    /// Its header has no end.
    #[error("answers with more than {0} bytes of header")]
    TooLong(usize),
    /// It hung up.
    #[error("closed the connection in place of an answer")]
    Closed,
    /// The deadline has passed.
    #[error("has not answered in time")]
    TimedOut,
    /// The connection broke.
    #[error("can't be talked to: {0}")]
    Broken(io::Error),
    /// The password can't be read.
    #[error("wants a password, which can't be read from {}: {error}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: FileError,
    },
    /// The password has a control character.
    #[error("can't be sent the password: it has a control character")]
    PasswordText,
    /// The target is none.
    #[error("can't be asked for this target: it is no host name or address")]
    Target,
}

impl ProxyError {
    /// What it is about.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What to do next.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match &self.problem {
            Problem::WantsLogin(_) => "give the proxy's user and a file with the password",
            Problem::RefusesLogin(..) => "see whether the proxy knows this user with this password",
            Problem::OtherScheme(..) => "have the proxy take Basic, or this device's address",
            Problem::Refuses { status: 403, .. } => {
                "have the proxy allow CONNECT to this host and port, or put the host into no_proxy"
            }
            Problem::Refuses { .. } => {
                "the proxy can't reach the host: see whether it resolves the name and may go out"
            }
            Problem::PasswordFile { .. } | Problem::PasswordText => {
                "put the password, and nothing else, into a file that only its owner may read"
            }
            Problem::Target => "name a host or an address",
            Problem::NotHttp | Problem::TooLong(_) => "is this the address of an HTTP proxy?",
            Problem::Closed | Problem::TimedOut | Problem::Broken(_) => {
                "is this the address of an HTTP proxy, and is it well?"
            }
        }
    }
}

fn in_brackets(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}
