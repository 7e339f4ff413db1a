//! The PIN of a token's user, or that of its security officer.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tedge_p11_protocol::{Pin, Uri};

use super::given::GivenPin;
use super::guesses::Guesses;
use super::kept::PinOf;
use super::tries::{Lock, PinTries};
use crate::error::Result;
use crate::lock::lock;

/// What is known of one PIN of a token. Outlives logins and sessions.
#[derive(Debug)]
pub(crate) struct RolePin {
    token: Uri,
    tries: Mutex<PinTries>,
    guesses: Guesses,
}

impl RolePin {
    pub(super) fn new(token: Uri, kept: Option<PinOf>, unsettled: Arc<AtomicUsize>) -> Self {
        Self {
            token,
            tries: Mutex::new(PinTries::new(kept.clone())),
            guesses: Guesses::new(kept, unsettled),
        }
    }

    /// The PIN that was right when it was last tried.
    pub(crate) fn known(&self) -> Option<Pin> {
        lock(&self.tries).known().cloned()
    }

    /// Fails while no PIN of the caller who gave `given` is compared. To be asked before anything else that
    /// depends on the PIN.
    pub(crate) fn admit(&self, given: GivenPin<'_>) -> Result<()> {
        self.guesses.admit(given, &self.token)
    }

    /// Fails if `given` is not `right`, which counts as a guess, or while it is not compared.
    pub(crate) fn compare(&self, given: GivenPin<'_>, right: &Pin) -> Result<()> {
        self.guesses.compare(given, right, &self.token)
    }

    /// Whether the token may be asked about `given`. Comparing it with a known PIN counts as a guess if it
    /// differs.
    pub(crate) fn allow(&self, given: GivenPin<'_>, lock_state: Lock) -> Result<()> {
        self.guesses.admit(given, &self.token)?;
        let mut tries = lock(&self.tries);
        if let Some(known) = tries.known() {
            if known == given.pin {
                return Ok(());
            }
            self.guesses.was_wrong(given);
        }
        let has_been_right = |caller| self.guesses.has_been_right(caller);
        tries.allow(given, lock_state, has_been_right, &self.token)
    }

    /// The token took `given`.
    pub(crate) fn accepted(&self, given: GivenPin<'_>) {
        if lock(&self.tries).accepted(given.pin) {
            self.guesses.forget(given.pin);
        }
        self.guesses.was_right(given.by);
    }

    /// The token refused `given`.
    pub(crate) fn refused(&self, given: GivenPin<'_>) {
        lock(&self.tries).refused(given);
        self.guesses.was_wrong(given);
    }

    /// Keeps and logs what was counted: see [`Guesses::settle`].
    pub(crate) fn settle(&self) {
        self.guesses.settle(&self.token);
    }

    /// See [`Guesses::settle_right_ones`].
    pub(crate) fn settle_right_ones(&self) {
        self.guesses.settle_right_ones(&self.token);
    }
}
