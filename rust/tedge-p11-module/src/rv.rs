//! The codes that functions return.

use cryptoki_sys::*;
use tedge_p11_client::Error;

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
            // The signer is to this module what a reader is to others.
            _ => CKR_DEVICE_ERROR,
        })
    }
}
