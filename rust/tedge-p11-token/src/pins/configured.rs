//! The PIN that the operator configured.

use std::sync::Mutex;

use tedge_p11_protocol::{Pin, Uri};

use crate::lock::lock;
use crate::token_info::TokenInfo;

/// Tried before those that clients bring: who guesses must not be the first after each start.
#[derive(Debug, Default)]
pub(crate) struct ConfiguredPin(Mutex<Option<(Uri, Pin)>>);

impl ConfiguredPin {
    /// For tokens with the attributes of `token`.
    pub(crate) fn set(&self, token: Uri, pin: Option<Pin>) {
        *lock(&self.0) = pin.map(|pin| (token, pin));
    }

    /// The one for this token, if it was configured for this or there is no other.
    pub(crate) fn of(&self, token: &TokenInfo, is_only: bool) -> Option<Pin> {
        let configured = lock(&self.0);
        let (uri, pin) = configured.as_ref()?;
        let is_named = uri.token.is_some() || uri.serial.is_some();
        let is_meant = if is_named {
            token.matches(uri)
        } else {
            is_only
        };
        is_meant.then(|| pin.clone())
    }
}
