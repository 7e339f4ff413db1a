//! The PINs of tokens: which is configured, which may be tried, and which were refused.

mod auth_pin;
mod configured;
mod refused;
pub(crate) mod security_officer;
mod tries;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use self::refused::{PinOf, Role};

pub(crate) use self::auth_pin::auth_pin;
pub(crate) use self::configured::ConfiguredPin;
pub(crate) use self::refused::RefusedPins;
pub(crate) use self::tries::PinTries;

/// The PINs of one token, whatever slot it is in.
#[derive(Debug)]
pub(crate) struct TokenPins {
    pub(crate) user: Mutex<PinTries>,
    pub(crate) so: Mutex<PinTries>,
    pub(crate) configured: Arc<ConfiguredPin>,
    /// Whether there was no other token when last it was looked.
    pub(crate) is_only: AtomicBool,
}

impl TokenPins {
    /// Of the token with that URI.
    pub(crate) fn new(
        token: &str,
        configured: Arc<ConfiguredPin>,
        kept: Option<&Arc<RefusedPins>>,
    ) -> Self {
        let of = |role| {
            Mutex::new(PinTries::new(
                kept.map(|kept| PinOf::new(kept, role, token)),
            ))
        };
        Self {
            user: of(Role::User),
            so: of(Role::SecurityOfficer),
            configured,
            is_only: AtomicBool::new(false),
        }
    }
}
