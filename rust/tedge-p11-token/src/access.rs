//! What a caller brings to the keys of a token, and who is asked whether it may use them.

use tedge_p11_protocol::{Pin, PublicKey, SignatureScheme, Uri};

use crate::error::{Error, Result};
use crate::pins::GivenPin;
use crate::refusal::Refusal;

/// Asked before something is done with the key or token of that URI.
pub type Check<'a> = &'a dyn Fn(&Uri) -> std::result::Result<(), Refusal>;

/// Asked before something is signed: the key's URI, the scheme, and the public key, which some tokens do
/// not tell.
pub type SignatureCheck<'a> = &'a mut dyn FnMut(
    &Uri,
    SignatureScheme,
    Option<&PublicKey>,
) -> std::result::Result<(), Refusal>;

/// What a caller may use of what is found.
pub trait Permit {
    /// Asked with the URI of the token that was found, which says more than what was asked for, before
    /// anything is done there.
    fn token(&self, token: &Uri) -> std::result::Result<(), Refusal>;

    /// Asked with the URI of the private key that was found, before anything else about it is found out or told.
    fn key(&self, key: &Uri) -> std::result::Result<(), Refusal>;
}

/// May use all that there is.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl Permit for Everything {
    fn token(&self, _: &Uri) -> std::result::Result<(), Refusal> {
        Ok(())
    }

    fn key(&self, _: &Uri) -> std::result::Result<(), Refusal> {
        Ok(())
    }
}

/// A PIN, and where it may be tried.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// User PIN, and by whom it was given.
    pub pin: Option<GivenPin<'a>>,
    /// What else may be used there.
    pub permit: &'a dyn Permit,
}

impl<'a> Access<'a> {
    /// Of the operator, who may use every token.
    #[must_use]
    pub fn to_all(pin: Option<&'a Pin>) -> Self {
        Self {
            pin: pin.map(GivenPin::by_operator),
            permit: &Everything,
        }
    }

    pub(crate) fn check(&self, token: &Uri) -> Result<()> {
        self.permit.token(token).map_err(Error::Refused)
    }

    pub(crate) fn check_key(&self, key: &Uri) -> Result<()> {
        self.permit.key(key).map_err(Error::Refused)
    }
}
