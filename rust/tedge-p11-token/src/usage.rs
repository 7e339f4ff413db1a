//! Operations that use the module, and the moments when none may.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    pub(crate) fn alone(&self, limit: Duration) -> Option<Alone<'_>> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        if state.closed {
            // Somebody else is at it already.
            return None;
        }
        state.closed = true;
        while state.active > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.closed = false;
                self.changed.notify_all();
                return None;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Some(Alone(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(usage.alone(Duration::from_millis(10)).is_none());
        drop(usage.enter());
        drop(hung);
        let alone = usage.alone(Duration::from_millis(10)).unwrap();
        assert!(usage.alone(Duration::from_millis(10)).is_none());
        drop(alone);
        drop(usage.enter());
    }
}
