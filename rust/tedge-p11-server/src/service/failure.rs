//! Why a request is answered with an Error frame.

use tedge_p11_config::Refusal;
use tedge_p11_token::Error;

/// What went wrong, in words for a person, and the `CKR_` code if it was one.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: Option<String>,
    /// Whether the policy said no.
    pub(crate) refused: bool,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: None,
            refused: false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
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
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            message: refusal.to_string(),
            code: None,
            refused: true,
        }
    }
}
