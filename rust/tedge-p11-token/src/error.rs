//! What can go wrong, on which token or key, and what to do about it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tedge_p11_protocol::{SignatureScheme, Uri};

use crate::call_error::CallError;
use crate::code::Code;
use crate::load_error::LoadError;
use crate::refusal::Refusal;
use crate::unclear::Unclear;

/// The result of an operation on a module, token or key.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a module, token or key failed.
#[derive(Debug, thiserror::Error)]
#[allow(clippy::large_enum_variant)] // made on cold paths only
pub enum Error {
    /// The module can't be loaded.
    #[error("cannot load the PKCS#11 module {}", path.display())]
    ModuleLoad {
        /// File of the module.
        path: PathBuf,
        /// Why.
        #[source]
        reason: LoadError,
    },
    /// A PKCS#11 function failed in a way that has no better name here.
    #[error(transparent)]
    Pkcs11(#[from] CallError),
    /// No initialised token has the attributes of the URI.
    #[error("no token matches {uri}; {}", absent.map_or_else(
        || present(tokens, "the module's tokens are"),
        |absent| absent.to_string(),
    ))]
    NoToken {
        /// What was asked for.
        uri: Uri,
        /// What is there.
        tokens: Vec<Uri>,
        /// Said when nothing is there.
        absent: Option<Absent>,
    },
    /// Several tokens have the attributes of the URI.
    #[error(
        "{uri} matches several tokens; add token= or serial= to name one of{}",
        list(tokens)
    )]
    SeveralTokens {
        /// What was asked for.
        uri: Uri,
        /// What matches.
        tokens: Vec<Uri>,
    },
    /// There is no uninitialised token to initialise.
    #[error(
        "no uninitialised token matches {uri}; {}",
        present(tokens, "initialised are")
    )]
    NoBlankToken {
        /// What was asked for.
        uri: Uri,
        /// What is there, initialised.
        tokens: Vec<Uri>,
    },
    /// A token of that label is there already.
    #[error("a token labelled {label:?} is initialised already ({uri}); it is left as it is")]
    LabelTaken {
        /// The label.
        label: String,
        /// The token that has it.
        uri: Uri,
    },
    /// No key has the attributes of the URI.
    #[error(
        "no {what} matches {uri} on token {token}; {}",
        present(keys, "its keys are")
    )]
    NoKey {
        /// `private key`, for example.
        what: &'static str,
        /// What was asked for.
        uri: Uri,
        /// The token that was searched.
        token: Uri,
        /// What is there.
        keys: Vec<Uri>,
    },
    /// Several keys have the attributes of the URI.
    #[error(
        "{uri} matches several keys; use the URI of one of{}{unclear}",
        list(keys)
    )]
    SeveralKeys {
        /// What was asked for.
        uri: Uri,
        /// What matches.
        keys: Vec<Uri>,
        /// Why the installed certificate does not choose one.
        unclear: Unclear,
    },
    /// No certificate has the attributes of the URI.
    #[error(
        "no certificate matches {uri} on token {token}; {}",
        present(certificates, "its certificates are")
    )]
    NoCertificate {
        /// What was asked for.
        uri: Uri,
        /// The token that was searched.
        token: Uri,
        /// What is there.
        certificates: Vec<Uri>,
    },
    /// Several certificates have the attributes of the URI.
    #[error(
        "{uri} matches several certificates; use the URI of one of{}",
        list(certificates)
    )]
    SeveralCertificates {
        /// What was asked for.
        uri: Uri,
        /// What matches.
        certificates: Vec<Uri>,
    },
    /// What should be a certificate is none.
    #[error("what should be written is no X.509 certificate in DER")]
    NotACertificate,
    /// The certificate belongs to another key.
    #[error(
        "the certificate does not belong to the key {0}: their public keys differ; it is not written"
    )]
    CertificateOfAnotherKey(Uri),
    /// The key has nothing by which a certificate could be found for it.
    #[error(
        "the key {0} has neither an id nor a label (CKA_ID, CKA_LABEL), so that no certificate can be \
         bound to it; give it one, or make another key"
    )]
    KeyWithoutName(Uri),
    /// The token says that it has no room for the key.
    #[error(
        "token {token} has {free} bytes left, and the key takes about {needed}; delete a key that is not used any more"
    )]
    NoRoom {
        /// The token.
        token: Uri,
        /// Bytes that are left for private objects.
        free: usize,
        /// Bytes that the key takes, about.
        needed: usize,
    },
    /// There is no key on any token.
    #[error("no private key that can sign on any token; create one and set its URI")]
    NoKeyAtAll,
    /// The key's label and id belong to a key that is there already.
    #[error("token {token} has a key with id {id} already; choose another id or delete that key")]
    IdTaken {
        /// The token.
        token: Uri,
        /// The id in hexadecimal.
        id: String,
    },
    /// The URI's `type` is not one that the operation works on.
    #[error("{uri} names an object of type {given}; this needs {needed}")]
    WrongType {
        /// What was asked for.
        uri: Uri,
        /// Its `type` attribute.
        given: &'static str,
        /// What would do.
        needed: &'static str,
    },
    /// The token wants a login and there is no PIN.
    #[error("token {0} needs its user PIN and none was given")]
    PinNeeded(Uri),
    /// The token refused the security officer's PIN.
    #[error(
        "wrong SO PIN for token {token} (CKR_PIN_INCORRECT){}",
        tries(*flags)
    )]
    SoPinIncorrect {
        /// The token.
        token: Uri,
        /// What the token says of the tries that are left.
        flags: TriesLeft,
    },
    /// The security officer's PIN is locked.
    #[error(
        "the PIN of the security officer of token {0} is locked (CKR_PIN_LOCKED); only the maker's \
         tools can help, and erase the token"
    )]
    SoPinLocked(Uri),
    /// The token refused the PIN.
    #[error(
        "wrong PIN for token {token} (CKR_PIN_INCORRECT){}; give or configure another one",
        tries(*flags)
    )]
    PinIncorrect {
        /// The token.
        token: Uri,
        /// What the token says of the tries that are left.
        flags: TriesLeft,
    },
    /// The token refused this very PIN before; it was not tried again, to spare the tries left.
    #[error(
        "token {0} refused this PIN before; it is not tried again, since that could lock the token: \
         give or configure another one; if it is right by now, remove /var/lib/tedge-p11-server/refused-pins \
         and restart the signer"
    )]
    PinRefusedBefore(Uri),
    /// Wrong PINs were given; what is left of the tries is spared.
    #[error(
        "several wrong PINs were given for token {0}; other ones are not tried for an hour, since \
         that could lock the token; root may remove /var/lib/tedge-p11-server/refused-pins and restart the \
         signer"
    )]
    PinTriesSpared(Uri),
    /// The caller gave a wrong PIN; its share of the tries is used up.
    #[error(
        "a wrong PIN was given for token {0}, and this user may have one tried in an hour, since more could \
         lock the token; root may remove /var/lib/tedge-p11-server/refused-pins and \
         restart the signer"
    )]
    PinTrySpent(Uri),
    /// The caller gave several wrong PINs; none is compared for a while, not even the right one.
    #[error(
        "several wrong PINs were given for token {token}: for {} s after the last one, this user's PINs are \
         not looked at, right or wrong; root may remove /var/lib/tedge-p11-server/refused-pins and restart the \
         signer",
        pause.as_secs()
    )]
    PinPaused {
        /// The token.
        token: Uri,
        /// From the last wrong PIN on.
        pause: Duration,
    },
    /// The token has one try left.
    #[error(
        "the PIN of token {0} has one try left (CKF_USER_PIN_FINAL_TRY or CKF_SO_PIN_FINAL_TRY); it \
         is not risked here: log in with the right PIN by another tool, which resets the counter"
    )]
    PinFinalTry(Uri),
    /// The token keeps failing; it gets a pause.
    #[error("{error}; it keeps failing and is not asked again for {} ms", left.as_millis())]
    Failing {
        /// What it failed with. It is in the text.
        error: CallError,
        /// Until it is tried again.
        left: Duration,
    },
    /// The token makes a key, and the operation can't be done meanwhile.
    #[error("token {0} is making a key; try again when it is done")]
    MakesKey(Uri),
    /// The caller's check said no.
    #[error(transparent)]
    Refused(Refusal),
    /// The token was reset while the operation was on its way; it can be tried again at once.
    #[error("the token was reset meanwhile")]
    Outdated,
    /// Whether the caller has to wait depends on a guess that is yet to be compared with those of earlier
    /// processes; it can be tried again at once.
    #[error("a PIN of this user is being compared")]
    Unsettled,
    /// A search returned an object that is not what was searched for.
    #[error(
        "token {token} returned object {found} when asked for {wanted}; its handles are mixed up"
    )]
    WrongObject {
        /// The token.
        token: Uri,
        /// What was asked for.
        wanted: Uri,
        /// What came.
        found: Uri,
    },
    /// Objects that should hold the same public key hold different ones.
    #[error("several public keys belong to {0}; delete those that do not")]
    SeveralPublicKeys(Uri),
    /// A label or an id that no token takes.
    #[error("the {what} has {len} bytes, more than 255")]
    TooLong {
        /// `label` or `id`.
        what: &'static str,
        /// Its bytes.
        len: usize,
    },
    /// The token is open with another PIN.
    #[error(
        "the PIN is not the one that token {0} was opened with; it is not tried, since that could \
         lock the token"
    )]
    PinDiffers(Uri),
    /// The user PIN for a token that is to be initialised is not the one that is configured for it.
    #[error(
        "the signer is configured with another user PIN than this one for token \"{0}\", which was not \
         initialised: give no PIN, and it gets the configured one"
    )]
    NewPinDiffers(String),
    /// The token is locked.
    #[error(
        "the user PIN of token {0} is locked (CKR_PIN_LOCKED); the security officer can reset it: \
         tedge-hsm unlock"
    )]
    PinLocked(Uri),
    /// The token's label is too long or empty.
    #[error("a token label has 1 to 32 bytes and no blank at its end; {0:?} has {len}", len = .0.len())]
    BadLabel(String),
    /// The curve of an EC key is none of those that TLS signs with here.
    #[error("key {key} is on an unknown curve (CKA_EC_PARAMS {params})")]
    UnknownCurve {
        /// The key.
        key: Uri,
        /// `CKA_EC_PARAMS` in hexadecimal.
        params: String,
    },
    /// The key's type is none that TLS signs with here.
    #[error("key {key} has type {key_type}, which cannot sign for TLS here")]
    UnsupportedKeyType {
        /// The key.
        key: Uri,
        /// `CKK_` name.
        key_type: String,
    },
    /// The token lacks every mechanism that the key could sign with.
    #[error("token {token} has no mechanism that key {key} can sign with (C_GetMechanismInfo)")]
    NoMechanism {
        /// The token.
        token: Uri,
        /// The key.
        key: Uri,
    },
    /// The key can't sign with the scheme that was asked for.
    #[error("key {key} cannot sign with {scheme}; it can with {}", join(schemes))]
    UnsupportedScheme {
        /// The key.
        key: Uri,
        /// What was asked for.
        scheme: SignatureScheme,
        /// What it can.
        schemes: Vec<SignatureScheme>,
    },
    /// What should be signed as a digest can't be one.
    #[error("{len} bytes are no digest that key {key} could sign with {scheme}")]
    NotADigest {
        /// The key.
        key: Uri,
        /// What was asked for.
        scheme: SignatureScheme,
        /// Bytes of it.
        len: usize,
    },
    /// The token returned something that is no signature or no key of the kind.
    #[error("token {token} returned a malformed {what}")]
    Malformed {
        /// The token.
        token: Uri,
        /// `ECDSA signature`, for example.
        what: &'static str,
    },
    /// Neither the key nor an object beside it tells the public key.
    #[error(
        "no public key belongs to {0}: the token holds neither a public key object nor its value"
    )]
    NoPublicKey(Uri),
}

/// What a token says of the tries that a PIN has left.
#[derive(Clone, Copy, Debug, Default)]
pub struct TriesLeft {
    /// `CKF_USER_PIN_COUNT_LOW`, or `CKF_SO_PIN_COUNT_LOW` for the security officer, and so on.
    pub count_low: bool,
    /// `CKF_USER_PIN_FINAL_TRY`.
    pub final_try: bool,
    /// `CKF_USER_PIN_LOCKED`.
    pub locked: bool,
}

/// Why a module may have no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// `C_GetSlotList` names no slot: no reader, or the service that knows the readers can't be reached.
    #[error(
        "the module has no slot: is the device plugged in, is its service running (pcscd for USB \
         tokens and smart cards), and may this user use it?"
    )]
    Slot,
    /// There are slots, and no token is in them.
    #[error("no slot of the module has a token in it: is the device plugged in?")]
    Token,
}

impl Error {
    /// The `CKR_` code behind it, if there is one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Pkcs11(error) => error.code(),
            Self::PinIncorrect { .. } | Self::SoPinIncorrect { .. } => Some(Code::PIN_INCORRECT),
            Self::PinLocked(_) | Self::SoPinLocked(_) => Some(Code::PIN_LOCKED),
            _ => None,
        }
    }

    /// The same, not to be tried again, whatever its code: what failed may have been done all the same.
    pub(crate) fn final_word(self) -> Self {
        match self {
            Self::Pkcs11(error) => Self::Pkcs11(error.final_word()),
            other => other,
        }
    }

    /// Whether a PIN was wrong, or may have been.
    pub(crate) fn is_about_a_pin(&self) -> bool {
        matches!(
            self,
            Self::PinDiffers(_)
                | Self::PinIncorrect { .. }
                | Self::SoPinIncorrect { .. }
                | Self::PinRefusedBefore(_)
                | Self::PinTriesSpared(_)
                | Self::PinTrySpent(_)
                | Self::PinFinalTry(_)
                | Self::PinLocked(_)
                | Self::SoPinLocked(_)
                | Self::Unsettled
        )
    }

    /// Whether only C_Initialize helps.
    pub(crate) fn needs_initialization(&self) -> bool {
        self.is_stale() && self.code().is_some_and(Code::needs_initialization)
    }

    /// Whether dropping what is kept of the token (sessions, login, key handles) and trying once
    /// more may help.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale().is_some()
    }

    /// The call that failed, if that may help.
    pub(crate) fn stale(&self) -> Option<&CallError> {
        match self {
            Self::Pkcs11(error) if error.is_stale() => Some(error),
            _ => None,
        }
    }
}

fn tries(tries: TriesLeft) -> &'static str {
    match tries {
        TriesLeft { locked: true, .. } => "; the PIN is locked now",
        TriesLeft {
            final_try: true, ..
        } => "; one try is left",
        TriesLeft {
            count_low: true, ..
        } => "; few tries are left",
        _ => "",
    }
}

fn present(uris: &[Uri], lead: &str) -> String {
    if uris.is_empty() {
        return "there is none".to_owned();
    }
    format!("{lead}{}", list(uris))
}

/// In one line: an error is one line in the journal.
fn list(uris: &[Uri]) -> String {
    const MOST: usize = 8;
    let mut text = String::new();
    for uri in uris.iter().take(MOST) {
        let _ = write!(text, " <{uri}>");
    }
    if uris.len() > MOST {
        let _ = write!(text, " and {} more", uris.len() - MOST);
    }
    text
}

fn join(schemes: &[SignatureScheme]) -> String {
    let names: Vec<_> = schemes.iter().map(ToString::to_string).collect();
    names.join(", ")
}
