//! Why a request is answered with an Error frame.

use std::time::Duration;

use tedge_p11_config::Refusal;
use tedge_p11_protocol::{ExtensionResponse, Reason, Response, Uri};
use tedge_p11_token::{CallError, Code, Error};

use crate::configuration::TargetError;

/// Why a request failed. The text is in full, for the journal; what a client is told may be less.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The policy says no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// What the request speaks of is nothing that can be asked for.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// At the module, token or key.
    #[error("{}", in_full(.0))]
    Token(Box<Error>),
    /// The request lacks a PIN.
    #[error(transparent)]
    PinMissing(#[from] PinMissing),
    /// Clients are confined to another token.
    #[error("this signer is confined to the token labelled \"{only}\"; it initialises no other")]
    OtherToken {
        /// Label of the token that they are confined to.
        only: String,
    },
    /// A public key that has no PEM form. The library's error is none of std's without its feature std.
    #[error("the public key cannot be written as PEM: {0}")]
    Pem(der::pem::Error),
    /// The token takes too long.
    #[error("the token did not answer within {limit} s; it may hang")]
    Late {
        /// Seconds.
        limit: u64,
    },
}

/// What a request that lacks a PIN wants it for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum PinMissing {
    #[error("a new SO PIN is needed to initialise a token")]
    NewSecurityOfficer,
    #[error("a new user PIN is needed to initialise a token")]
    NewUser,
    #[error("resetting the user PIN needs the SO PIN")]
    Reset,
    #[error("changing the PIN needs the old PIN")]
    Old,
}

impl Failure {
    /// The `CKR_` code, if a PKCS#11 function failed.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Token(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the policy said no.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Token(error) => matches!(**error, Error::Refused(_)),
            _ => false,
        }
    }

    /// The answer to an explained request, with the message for a client that `may_list` some of what there is.
    pub(super) fn explained(self, may_list: impl Fn(&Uri) -> bool) -> Response {
        let reason = self.reason();
        let message = self.told(may_list);
        Response::Extension(ExtensionResponse::Failure(tedge_p11_protocol::Failure {
            reason,
            message,
        }))
    }

    /// The message for a client that `may_list` some of what there is.
    pub(super) fn told(self, may_list: impl Fn(&Uri) -> bool) -> String {
        let Self::Token(mut error) = self else {
            return self.to_string();
        };
        let left = listed(&mut error).map(|uris| {
            let all = uris.len();
            uris.retain(&may_list);
            (all, uris.len())
        });
        match found(&error) {
            Some((uri, without)) if !may_list(uri) => return without,
            _ => {}
        }
        if left.is_some_and(|(all, left)| all > 0 && left == 0) {
            return without_list(&error);
        }
        in_full(&error)
    }

    /// What a program can make of it.
    fn reason(&self) -> Reason {
        match self {
            Self::Refused(_) => Reason::Refused,
            Self::PinMissing(PinMissing::NewSecurityOfficer | PinMissing::NewUser) => {
                Reason::PinNeeded
            }
            Self::Token(error) => reason(error),
            _ => Reason::Other,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Token(Box::new(error))
    }
}

/// The text of an error, where the operator of a signer has more ways to mend it than the token crate knows.
fn in_full(error: &Error) -> String {
    match error {
        Error::PinNeeded(token) => format!(
            "token {token} needs its user PIN and none is configured or sent; configure it with \
             --pin, TEDGE_DEVICE_CRYPTOKI_PIN, device.cryptoki.pin in tedge.toml, or \
             pin-source= in the URI"
        ),
        error => error.to_string(),
    }
}

/// What a program can make of an error.
fn reason(error: &Error) -> Reason {
    match error {
        Error::Refused(_) => Reason::Refused,
        Error::PinNeeded(_) => Reason::PinNeeded,
        Error::PinIncorrect { .. }
        | Error::SoPinIncorrect { .. }
        | Error::PinRefusedBefore(_)
        | Error::PinTriesSpared(_)
        | Error::PinTrySpent(_)
        | Error::PinPaused { .. }
        | Error::PinFinalTry(_)
        | Error::PinDiffers(_)
        | Error::NewPinDiffers(_) => Reason::PinIncorrect,
        Error::PinLocked(_) | Error::SoPinLocked(_) => Reason::PinLocked,
        Error::NoToken { .. } | Error::SeveralTokens { .. } | Error::NoBlankToken { .. } => {
            Reason::NoToken
        }
        Error::NoKey { .. }
        | Error::SeveralKeys { .. }
        | Error::NoKeyAtAll
        | Error::NoCertificate { .. }
        | Error::SeveralCertificates { .. }
        | Error::WrongType { .. } => Reason::NoObject,
        Error::UnsupportedScheme { .. }
        | Error::UnsupportedKeyType { .. }
        | Error::UnknownCurve { .. }
        | Error::NoMechanism { .. }
        | Error::NoPublicKey(_)
        | Error::SeveralPublicKeys(_)
        | Error::NotADigest { .. } => Reason::Unsupported,
        Error::Failing { .. } | Error::MakesKey(_) | Error::Outdated => Reason::Busy,
        Error::Pkcs11 { .. } | Error::WrongObject { .. } | Error::Malformed { .. } => Reason::Token,
        _ => Reason::Other,
    }
}

/// What there is instead of what was asked for.
fn listed(error: &mut Error) -> Option<&mut Vec<Uri>> {
    match error {
        Error::NoToken { tokens, .. }
        | Error::SeveralTokens { tokens, .. }
        | Error::NoBlankToken { tokens, .. } => Some(tokens),
        Error::NoKey { keys, .. } | Error::SeveralKeys { keys, .. } => Some(keys),
        Error::NoCertificate { certificates, .. }
        | Error::SeveralCertificates { certificates, .. } => Some(certificates),
        _ => None,
    }
}

/// The object or token that was found, which may have a name that nobody asked for, and what is said without it.
fn found(error: &Error) -> Option<(&Uri, String)> {
    let (uri, without) = match error {
        Error::Pkcs11(error) => (error.uri()?, error.nameless()),
        Error::Failing { error, left } => (error.uri()?, failing(error, *left)),
        Error::UnsupportedScheme { key, scheme, .. } => {
            (key, format!("the key cannot sign with {scheme}"))
        }
        Error::UnsupportedKeyType { key, .. } | Error::UnknownCurve { key, .. } => {
            (key, "the key's type cannot sign for TLS here".to_owned())
        }
        Error::NoMechanism { key, .. } => (
            key,
            "the token has no mechanism that the key can sign with".to_owned(),
        ),
        Error::NoPublicKey(key) => (key, "no public key belongs to the key".to_owned()),
        Error::SeveralPublicKeys(key) => (key, "several public keys belong to the key".to_owned()),
        Error::CertificateOfAnotherKey(key) => (
            key,
            "the certificate does not belong to the key: their public keys differ".to_owned(),
        ),
        Error::KeyWithoutName(key) => (
            key,
            "the key has neither an id nor a label that a certificate could be bound to".to_owned(),
        ),
        Error::WrongObject { found, wanted, .. } => (
            found,
            format!("the token returned another object when asked for {wanted}"),
        ),
        Error::LabelTaken { label, uri } => (
            uri,
            format!("a token labelled {label:?} is initialised already"),
        ),
        _ => return None,
    };
    Some((uri, without))
}

fn failing(error: &CallError, left: Duration) -> String {
    format!(
        "{}; the token keeps failing and is not asked again for {} ms",
        error.nameless(),
        left.as_millis()
    )
}

fn without_list(error: &Error) -> String {
    match error {
        Error::NoToken { uri, .. } => format!("no token matches {uri}"),
        Error::SeveralTokens { uri, .. } => {
            format!("{uri} matches several tokens; add token= or serial=")
        }
        Error::NoBlankToken { uri, .. } => format!("no uninitialised token matches {uri}"),
        Error::NoKey { what, uri, .. } => format!("no {what} matches {uri}"),
        Error::SeveralKeys { uri, unclear, .. } => {
            format!("{uri} matches several keys; add object= or id={unclear}")
        }
        Error::NoCertificate { uri, .. } => format!("no certificate matches {uri}"),
        Error::SeveralCertificates { uri, .. } => {
            format!("{uri} matches several certificates; add object= or id=")
        }
        other => other.to_string(),
    }
}
