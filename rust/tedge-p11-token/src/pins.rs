//! The PINs of tokens: which is configured, which may be tried, which were wrong, and who gave those.

mod auth_pin;
mod configured;
mod given;
mod guesser;
mod guesses;
mod kept;
mod kept_text;
mod role_pin;
pub(crate) mod security_officer;
mod tries;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tedge_p11_protocol::Uri;

use self::kept::PinOf;
use self::kept_text::Role;

pub use self::given::{Caller, GivenPin, Giver};

pub(crate) use self::auth_pin::auth_pin;
pub(crate) use self::configured::ConfiguredPin;
pub(crate) use self::kept::KeptPins;
pub(crate) use self::role_pin::RolePin;
pub(crate) use self::tries::Lock;

/// The PINs of one token, whatever slot it is in.
#[derive(Debug)]
pub(crate) struct TokenPins {
    pub(crate) user: RolePin,
    pub(crate) so: RolePin,
    pub(crate) configured: Arc<ConfiguredPin>,
    /// Whether there was no other token when last it was looked.
    pub(crate) is_only: AtomicBool,
}

impl TokenPins {
    /// Of the token with that URI. `unsettled` counts what there is to [`settle`](Self::settle).
    pub(crate) fn new(
        token: &Uri,
        configured: Arc<ConfiguredPin>,
        kept: Option<&Arc<KeptPins>>,
        unsettled: &Arc<AtomicUsize>,
    ) -> Self {
        let of = |role| {
            let kept = kept.map(|kept| PinOf::new(kept, role, &token.to_string()));
            RolePin::new(token.clone(), kept, unsettled.clone())
        };
        Self {
            user: of(Role::User),
            so: of(Role::SecurityOfficer),
            configured,
            is_only: AtomicBool::new(false),
        }
    }

    /// See [`RolePin::settle`].
    pub(crate) fn settle(&self) {
        self.user.settle();
        self.so.settle();
    }

    /// See [`RolePin::settle_right_ones`].
    pub(crate) fn settle_right_ones(&self) {
        self.user.settle_right_ones();
        self.so.settle_right_ones();
    }
}
