//! What a signature is for.

use std::fmt;
use std::str::FromStr;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// `tls13-client`: CertificateVerify of a TLS 1.3 client (RFC 8446, section 4.4.3).
    Tls13Client,
    /// `tls12-client`: CertificateVerify of a TLS 1.2 client (RFC 5246, section 7.4.8).
    Tls12Client,
    /// `csr`: a CertificationRequestInfo (RFC 2986, section 4.1) for this key.
    Csr,
    /// `self-signed`: a TBSCertificate (RFC 5280, section 4.1) for this key, issued by its subject.
    SelfSigned,
}

/// A text that is no [`Purpose`]'s name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no purpose of a signature; these are tls13-client, tls12-client, csr and self-signed")]
pub struct UnknownPurpose;

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Tls13Client,
        Self::Tls12Client,
        Self::Csr,
        Self::SelfSigned,
    ];

    /// As a policy spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls13Client => "tls13-client",
            Self::Tls12Client => "tls12-client",
            Self::Csr => "csr",
            Self::SelfSigned => "self-signed",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    fn from_str(name: &str) -> Result<Self, UnknownPurpose> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.name() == name)
            .ok_or(UnknownPurpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.to_string().parse(), Ok(purpose));
        }
        for name in ["", "any", "CSR", "tls13-server", "csr "] {
            assert_eq!(name.parse::<Purpose>(), Err(UnknownPurpose), "{name:?}");
        }
    }
}
