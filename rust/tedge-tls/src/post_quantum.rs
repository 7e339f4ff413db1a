//! Whether the key exchange has to withstand quantum computers, and what follows from that.

use std::fmt;
use std::io::{self, ErrorKind};
use std::str::FromStr;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConnection, Error, NamedGroup, PeerIncompatible, PeerMisbehaved,
    SupportedProtocolVersion,
};

use crate::group::X25519MLKEM768;

/// What an operator wants of the key exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostQuantum {
    /// X25519MLKEM768 where the server has it, else a classical one.
    #[default]
    Prefer,
    /// X25519MLKEM768 and nothing else, and so TLS 1.3 and nothing else.
    Require,
    /// Classical ones only.
    Off,
}

/// It is none of the three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is \"prefer\", \"require\" or \"off\"")]
pub struct Unknown;

/// Why there is no connection where X25519MLKEM768 is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// What is wrong, in one line.
    pub what: String,
    /// What whoever runs the server or the device can do about it.
    pub cure: &'static str,
}

impl PostQuantum {
    /// What a client is built with: ring, and the key exchanges in the order in which they are preferred.
    #[must_use]
    pub fn provider(self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        match self {
            Self::Prefer => provider.kx_groups.insert(0, X25519MLKEM768),
            Self::Require => provider.kx_groups = vec![X25519MLKEM768],
            Self::Off => {}
        }
        provider
    }

    /// The versions of TLS that go with it; TLS 1.2 if it is `allowed`, and has a key exchange.
    #[must_use]
    pub fn versions(self, tls12_allowed: bool) -> &'static [&'static SupportedProtocolVersion] {
        if tls12_allowed && self != Self::Require {
            BOTH
        } else {
            NEW
        }
    }

    /// What a second connection is made with if the first one [`got_no_answer`].
    #[must_use]
    pub fn second(self) -> Option<Self> {
        (self == Self::Prefer).then_some(Self::Off)
    }

    /// What it means that a handshake failed, if that is because the key exchange is required.
    #[must_use]
    pub fn unmet(self, connection: &ClientConnection, error: &io::Error) -> Option<Unmet> {
        if self != Self::Require {
            return None;
        }
        if got_no_answer(connection, error) {
            return Some(Unmet {
                what: format!(
                    "the server, or something before it, did not answer the ClientHello with {NAME}, which is required \
                     here"
                ),
                cure: "see whether it answers where that is not required: some devices on the way drop a ClientHello of \
                       more than one packet",
            });
        }
        let refusal = match tls_error(error)? {
            // What servers answer that have no group in common, or no TLS 1.3 (RFC 8446, sections 4.1.1 and 4.2.1).
            Error::AlertReceived(AlertDescription::HandshakeFailure) => {
                " (TLS alert handshake_failure)"
            }
            Error::AlertReceived(AlertDescription::InsufficientSecurity) => {
                " (TLS alert insufficient_security)"
            }
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ) => ", as it has no TLS 1.3",
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
            | Error::PeerMisbehaved(
                PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup
                | PeerMisbehaved::SelectedUnofferedKxGroup,
            ) => "",
            _ => return None,
        };
        Some(Unmet {
            what: format!(
                "the server does not take the key exchange {NAME}{refusal}, which is required here"
            ),
            cure: "have the server take it (OpenSSL has it since version 3.5), or do not require it",
        })
    }
}

impl FromStr for PostQuantum {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        match word {
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            _ => Err(Unknown),
        }
    }
}

impl fmt::Display for PostQuantum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::Off => "off",
        })
    }
}

/// Whether a handshake failed before the server said anything of TLS, as it does where a ClientHello of more than one
/// packet is not understood: it is dropped, the connection is closed, or answered by an alert of who could not read
/// all of it. Who is on the way can have the same happen.
///
/// Not so once there is a ServerHello, so that no verdict on a certificate counts.
#[must_use]
pub fn got_no_answer(connection: &ClientConnection, error: &io::Error) -> bool {
    if connection.protocol_version().is_some() {
        return false;
    }
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => matches!(
            alert,
            AlertDescription::DecodeError
                | AlertDescription::IllegalParameter
                | AlertDescription::RecordOverflow
                | AlertDescription::UnexpectedMessage
        ),
        Some(_) => false,
        None => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
        ),
    }
}

/// The key exchange of a connection, by IANA's name; none before the ServerHello.
#[must_use]
pub fn group_name(connection: &ClientConnection) -> Option<&'static str> {
    match connection.negotiated_key_exchange_group()?.name() {
        NamedGroup::X25519 => Some("x25519"),
        name => name.as_str(),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static NEW: &[&SupportedProtocolVersion] = &[&TLS13];
/// As IANA writes it.
const NAME: &str = "X25519MLKEM768";
