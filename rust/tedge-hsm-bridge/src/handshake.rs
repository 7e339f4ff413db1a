//! What a TLS handshake came to, for the log, for systemd and for the health message.

use std::fmt;

use rustls::{ClientConnection, ProtocolVersion};
use tedge_p11_client::SignatureScheme;
use tedge_tls::group_name;

/// What was agreed with the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handshake {
    version: Option<ProtocolVersion>,
    /// Of the key exchange, by IANA's name.
    pub(crate) group: Option<&'static str>,
    /// What the device signed with; none if the broker asked for no certificate.
    pub(crate) scheme: Option<SignatureScheme>,
}

impl Handshake {
    pub(crate) fn of(connection: &ClientConnection, scheme: Option<SignatureScheme>) -> Self {
        Self {
            version: connection.protocol_version(),
            group: group_name(connection),
            scheme,
        }
    }
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.version {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        })?;
        if let Some(group) = self.group {
            write!(f, ", {group}")?;
        }
        if let Some(scheme) = self.scheme {
            write!(f, ", {scheme}")?;
        }
        Ok(())
    }
}
