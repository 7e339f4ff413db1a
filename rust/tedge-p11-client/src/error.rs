//! Why a request to the signer failed.

use std::path::PathBuf;
use std::time::Duration;

use tedge_p11_protocol::{DecodeError, PinError, UriError};

#[cfg(feature = "rustls")]
use crate::certificates::CertificatesError;

/// Why a request to the signer failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no signer at the socket, or this user may not open it.
    #[error("cannot connect to the signer at {}: {error}{}", path.display(), connect_hint(error))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("lost the signer at {}: {error}", path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The signer did not answer in time.
    #[error("the signer at {} did not answer within {} s; its log says why, if it could not start or the token hangs", path.display(), limit.as_secs())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// How long it had.
        limit: Duration,
    },
    /// The request is longer than the protocol allows.
    #[error("the request has {len} bytes, the protocol allows {max}")]
    TooLong {
        /// Bytes of the request.
        len: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// The signer answered with something that is no frame.
    #[error("the signer's answer is malformed: {0}")]
    Malformed(DecodeError),
    /// The signer answered with a frame that does not belong to the request.
    #[error("the signer's answer does not belong to the request")]
    Unexpected,
    /// The signer's answer has a URI with what RFC 7512 does not know. What was asked for is done.
    #[error("the signer did it, but its answer names {uri:?}, which cannot be used here: {error}")]
    AnswerUri {
        /// As the signer has it.
        uri: String,
        /// What is wrong with it.
        error: UriError,
    },
    /// The PIN that the URI names cannot be read.
    #[error(transparent)]
    Pin(PinError),
    /// The signer refused.
    #[error("{0}")]
    Refused(String),
    /// The signer refused, and says why in a way that a program understands: see [`Client::explained`].
    ///
    /// [`Client::explained`]: crate::Client::explained
    #[error("{message}")]
    Explained {
        /// Why.
        reason: tedge_p11_protocol::Reason,
        /// The same for a person.
        message: String,
    },
    /// The signer has a public key of a kind that is not known here.
    #[error("the signer's public key is of an unknown kind")]
    UnknownKey,
    /// The key can't sign with the scheme.
    #[error("the key cannot sign with {0}")]
    UnsupportedScheme(tedge_p11_protocol::SignatureScheme),
    /// The signer is thin-edge.io's, which can't make such a key.
    #[error("the signer cannot make a key of this type; it supports only EC and RSA")]
    NeedsExtension,
    /// The signer is thin-edge.io's, whose protocol has no way to say this.
    #[error("the signer cannot {0}; use tedge-p11-server of this project, or --module-path")]
    NotInVersion1(&'static str),
    /// A file has not the certificates that were expected in it.
    #[cfg(feature = "rustls")]
    #[error("cannot read certificates from {}: {error}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: CertificatesError,
    },
    /// The certificate can't be used with the key.
    #[error("{0}")]
    Certificate(String),
}

fn connect_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            "; is tedge-p11-server running?"
        }
        std::io::ErrorKind::PermissionDenied => "; is this user in the socket's group?",
        _ => "",
    }
}
