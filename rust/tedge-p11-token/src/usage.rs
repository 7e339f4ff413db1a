//! Operations that use the module, and the moments when none may.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// Counts the operations under way. Unlike a lock, it can be waited for with a limit: an operation that
/// never ends must not stop all others because somebody waits for it.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    active: usize,
    closed: bool,
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct InUse<'a>(&'a Usage);

/// No operation is under way, and none begins.
#[derive(Debug)]
pub(crate) struct Alone<'a>(&'a Usage);

/// Why somebody is not alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAlone {
    /// Some operation did not end in time.
    InUse,
    /// Somebody else is, or is about to be.
    AnotherIs,
}

impl Usage {
    /// Begins an operation, when the module is not just being initialised anew.
    pub(crate) fn enter(&self) -> InUse<'_> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.active += 1;
        InUse(self)
    }

    /// Waits until no operation is under way, but not longer than `limit`.
    pub(crate) fn alone(&self, limit: Duration) -> Result<Alone<'_>, NotAlone> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        if state.closed {
            return Err(NotAlone::AnotherIs);
        }
        state.closed = true;
        while state.active > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.closed = false;
                self.changed.notify_all();
                return Err(NotAlone::InUse);
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(Alone(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.active -= 1;
        if state.active == 0 && state.closed {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_hangs_stops_no_other() {
        let usage = Usage::default();
        let hung = usage.enter();
        let alone = usage.alone(Duration::from_millis(10));
        assert_eq!(alone.unwrap_err(), NotAlone::InUse);
        drop(usage.enter());
        drop(hung);
        let alone = usage.alone(Duration::from_millis(10)).unwrap();
        let second = usage.alone(Duration::from_millis(10));
        assert_eq!(second.unwrap_err(), NotAlone::AnotherIs);
        drop(alone);
        drop(usage.enter());
    }
}
