//! Why a message has no purpose.

use tedge_p11_protocol::SignatureScheme;

use crate::purpose::Purpose;

/// Why a message has none of the purposes, in words that fit behind "refused to sign: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognized {
    /// Not even its beginning is that of a message known here.
    #[error("it is no TLS handshake, certificate request or certificate")]
    Nothing,
    /// It begins like one purpose, and goes wrong.
    #[error("it looks like {purpose}, but {flaw}")]
    Flawed {
        /// The only purpose that it could have had.
        purpose: Purpose,
        /// Why it hasn't.
        flaw: Flaw,
    },
}

/// Why a message does not have the purpose that it resembles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// RFC 8446, section 4.4.3: the context string is not a client's. Also a server's.
    #[error("its context string is not that of a client's CertificateVerify")]
    Context,
    /// RFC 8446, section 4.4.1: not the length of a SHA-256 or SHA-384.
    #[error("its transcript hash has {0} bytes, not 32 or 48")]
    HashLength(usize),
    /// The scheme is not one that this purpose can be signed with.
    #[error("{0} is no scheme for it")]
    Scheme(SignatureScheme),
    /// RFC 5246, section 7.3: this handshake message is not where it must be.
    #[error("its handshake has no {0} where one must be")]
    Missing(&'static str),
    /// RFC 5246, section 7.4: the inside of this handshake message is wrong.
    #[error("its {0} is malformed or not of TLS 1.2")]
    Malformed(&'static str),
    /// RFC 5246, section 7.4.8: the transcript ends with ClientKeyExchange.
    #[error("its handshake goes on behind ClientKeyExchange")]
    Trailing,
    /// The bytes mean something in another protocol too.
    #[error("it can also be read as {0}")]
    OtherProtocol(&'static str),
    /// Not the DER that RFC 2986 or RFC 5280 asks for.
    #[error("it is not well-formed DER of that kind")]
    Der,
    /// Longer than a device's request or certificate is; in the rest anything could be hidden.
    #[error("it has {len} bytes, more than the {max} that a device's may have")]
    TooLong {
        /// Its length.
        len: usize,
        /// Most bytes.
        max: usize,
    },
    /// RFC 5280, section 4.1.2.2: from 1 on, and not longer than 20 bytes.
    #[error("its serial number is 0 or has more than 20 bytes")]
    SerialNumber,
    /// RFC 5280, section 4.2: one reader would take the first, another the last.
    #[error("it has an extension or an attribute twice")]
    Twice,
    /// Its SubjectPublicKeyInfo is not that of the key that is to sign.
    #[error("it is about another key than the one that is to sign it")]
    OtherKey,
    /// Whether it is about the key that is to sign can't be told: the token does not tell its public
    /// key.
    #[error("the token does not give the public key that it must be about")]
    UnknownKey,
    /// RFC 5280, section 3.2: not self-issued.
    #[error("its issuer is not its subject")]
    OtherIssuer,
}

impl From<der::Error> for Flaw {
    /// Where in a message the DER went wrong helps nobody who asks for a signature.
    fn from(_: der::Error) -> Self {
        Self::Der
    }
}
