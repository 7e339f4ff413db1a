//! Why a request is answered with an Error frame.

use tedge_p11_config::Refusal;
use tedge_p11_protocol::{ExtensionResponse, Reason, Response, Uri};
use tedge_p11_token::Error;

/// What went wrong, in words for a person, and the `CKR_` code if it was one.
#[derive(Debug)]
pub(crate) struct Failure {
    /// In full, for the journal.
    pub(crate) message: String,
    pub(crate) code: Option<String>,
    /// Whether the policy said no.
    pub(crate) refused: bool,
    /// What a program can make of it.
    reason: Reason,
    /// What the message comes from, if that names tokens, keys or certificates that were not asked for.
    listing: Option<Box<Error>>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: None,
            refused: false,
            reason: Reason::Other,
            listing: None,
        }
    }

    /// That a PIN is needed.
    pub(super) fn pin_needed(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::PinNeeded,
            ..Self::new(message)
        }
    }

    /// The answer to an explained request, with the message for a client that `may_list` some of what there is.
    pub(super) fn explained(self, may_list: impl Fn(&Uri) -> bool) -> Response {
        let reason = self.reason;
        let message = self.told(may_list);
        Response::Extension(ExtensionResponse::Failure(tedge_p11_protocol::Failure {
            reason,
            message,
        }))
    }

    /// The message for a client that `may_list` some of what there is.
    pub(super) fn told(self, may_list: impl Fn(&Uri) -> bool) -> String {
        let Some(mut error) = self.listing else {
            return self.message;
        };
        let left = listed(&mut error).map(|uris| {
            uris.retain(&may_list);
            uris.len()
        });
        match found(&error) {
            Some((uri, without)) if !may_list(uri) => return without,
            _ => {}
        }
        if left == Some(0) {
            return without_list(&error);
        }
        error.to_string()
    }
}

impl From<Error> for Failure {
    fn from(mut error: Error) -> Self {
        let lists =
            listed(&mut error).is_some_and(|uris| !uris.is_empty()) || found(&error).is_some();
        let message = match &error {
            Error::PinNeeded(token) => format!(
                "token {token} needs its user PIN and none is configured or sent; configure it with \
                 --pin, TEDGE_DEVICE_CRYPTOKI_PIN, device.cryptoki.pin in tedge.toml, or \
                 pin-source= in the URI"
            ),
            error => error.to_string(),
        };
        Self {
            message,
            code: error.code().map(str::to_owned),
            refused: matches!(error, Error::Refused(_)),
            reason: reason(&error),
            listing: lists.then(|| Box::new(error)),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            message: refusal.to_string(),
            code: None,
            refused: true,
            reason: Reason::Refused,
            listing: None,
        }
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
        | Error::NotADigest { .. } => Reason::Unsupported,
        Error::Failing { .. } | Error::MakesKey(_) | Error::Outdated => Reason::Busy,
        Error::Pkcs11 { .. }
        | Error::WrongObject { .. }
        | Error::Malformed { .. }
        | Error::NoPublicKey(_)
        | Error::SeveralPublicKeys(_) => Reason::Token,
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

fn without_list(error: &Error) -> String {
    match error {
        Error::NoToken { uri, .. } => format!("no token matches {uri}"),
        Error::SeveralTokens { uri, .. } => {
            format!("{uri} matches several tokens; add token= or serial=")
        }
        Error::NoBlankToken { uri, .. } => format!("no uninitialised token matches {uri}"),
        Error::NoKey { what, uri, .. } => format!("no {what} matches {uri}"),
        Error::SeveralKeys { uri, .. } => {
            format!("{uri} matches several keys; add object= or id=")
        }
        Error::NoCertificate { uri, .. } => format!("no certificate matches {uri}"),
        Error::SeveralCertificates { uri, .. } => {
            format!("{uri} matches several certificates; add object= or id=")
        }
        other => other.to_string(),
    }
}
