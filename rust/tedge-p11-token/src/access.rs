//! What a caller brings to the keys of a token, and who is asked whether it may use them.

use tedge_p11_protocol::{Pin, PublicKey, SignatureScheme, Uri};

use crate::error::{Error, Result};
use crate::pins::GivenPin;

/// Asked before something is done with the key or token of that URI; what it says instead of yes is the
/// error that the caller gets.
pub type Check<'a> = &'a dyn Fn(&Uri) -> std::result::Result<(), String>;

/// Asked before something is signed: the key's URI, the scheme, and the public key, which some tokens do
/// not tell.
pub type SignatureCheck<'a> =
    &'a mut dyn FnMut(&Uri, SignatureScheme, Option<&PublicKey>) -> std::result::Result<(), String>;

/// A PIN, and on which tokens it may be tried.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// User PIN, and by whom it was given.
    pub pin: Option<GivenPin<'a>>,
    /// Asked with the URI of the token that was found, which says more than what was asked for, before
    /// anything is done there.
    pub token: Check<'a>,
}

impl<'a> Access<'a> {
    /// Of the operator, who may use every token.
    #[must_use]
    pub fn to_all(pin: Option<&'a Pin>) -> Self {
        Self {
            pin: pin.map(GivenPin::by_operator),
            token: &|_| Ok(()),
        }
    }

    pub(crate) fn check(&self, token: &Uri) -> Result<()> {
        (self.token)(token).map_err(Error::Refused)
    }
}
