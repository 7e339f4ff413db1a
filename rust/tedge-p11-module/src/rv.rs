//! The codes that functions return.

use cryptoki_sys::*;
use tedge_p11_client::{Error, Reason};

/// A `CKR_` code other than `CKR_OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rv(pub CK_RV);

/// What a function returns but for its outputs.
pub type Result<T> = std::result::Result<T, Rv>;

impl From<&Error> for Rv {
    fn from(error: &Error) -> Self {
        Self(match error {
            Error::TooLong { .. } => CKR_DATA_LEN_RANGE,
            Error::UnsupportedScheme(_) => CKR_MECHANISM_INVALID,
            Error::NeedsExtension | Error::NotInVersion1(_) => CKR_FUNCTION_NOT_SUPPORTED,
            Error::Refused(_) => CKR_FUNCTION_FAILED,
            Error::Explained { reason, .. } => of_reason(*reason),
            // The signer is to this module what a reader is to others.
            _ => CKR_DEVICE_ERROR,
        })
    }
}

fn of_reason(reason: Reason) -> CK_RV {
    match reason {
        // Of the codes for "you may not", the one that OpenSSL's provider, p11-kit and OpenSC all have words for.
        Reason::Refused => CKR_KEY_FUNCTION_NOT_PERMITTED,
        Reason::PinNeeded => CKR_USER_NOT_LOGGED_IN,
        Reason::PinIncorrect => CKR_PIN_INCORRECT,
        Reason::PinLocked => CKR_PIN_LOCKED,
        Reason::NoToken => CKR_TOKEN_NOT_PRESENT,
        Reason::NoObject => CKR_OBJECT_HANDLE_INVALID,
        Reason::Unsupported => CKR_MECHANISM_INVALID,
        Reason::Token => CKR_DEVICE_ERROR,
        Reason::Busy | Reason::Other => CKR_FUNCTION_FAILED,
    }
}
