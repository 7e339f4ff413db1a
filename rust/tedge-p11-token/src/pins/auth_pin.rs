//! PINs as cryptoki takes them.

use cryptoki::types::AuthPin;
use tedge_p11_protocol::Pin;

/// For one call; cryptoki wipes it when it is dropped.
pub(crate) fn auth_pin(pin: &Pin) -> AuthPin {
    pin.expose().into()
}
