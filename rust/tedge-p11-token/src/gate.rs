//! Who may use a token at the same time as others.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

/// A lock that is shared or seized, as an `RwLock` is, and that a long operation can share without anybody who
/// waits to seize it keeping others from sharing it: an `RwLock` lets no reader in while a writer waits.
#[derive(Debug, Default)]
pub(crate) struct Gate<T> {
    inside: RwLock<T>,
    /// Long operations under way. Grows only while `inside` is seized.
    long: Mutex<usize>,
    ended: Condvar,
}

/// A long operation under way.
#[derive(Debug)]
pub(crate) struct Long<'a, T>(&'a Gate<T>);

impl<T> Gate<T> {
    /// With all others who share it. Costs what an `RwLock` costs.
    pub(crate) fn share(&self) -> RwLockReadGuard<'_, T> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alone, once no long operation is under way.
    pub(crate) fn seize(&self) -> RwLockWriteGuard<'_, T> {
        loop {
            // Not in the queue of `inside`, where it would stop those who share.
            let ended = self.ended.wait_while(self.long(), |long| *long > 0);
            drop(ended.unwrap_or_else(PoisonError::into_inner));
            if let Some(inside) = self.seize_now() {
                return inside;
            }
        }
    }

    /// Alone, if no long operation is under way; otherwise none, after `pause` or at its end.
    pub(crate) fn seize_or_pause(&self, pause: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        let long = self.long();
        if *long > 0 {
            let _ = self.ended.wait_timeout(long, pause);
            return None;
        }
        drop(long);
        self.seize_now()
    }

    /// Turns the use of who is alone into a long one beside others.
    pub(crate) fn begin_long(&self, inside: RwLockWriteGuard<'_, T>) -> Long<'_, T> {
        *self.long() += 1;
        drop(inside);
        Long(self)
    }

    fn seize_now(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let inside = self.inside.write().unwrap_or_else(PoisonError::into_inner);
        // None begins from here on.
        let free = *self.long() == 0;
        free.then_some(inside)
    }

    fn long(&self) -> MutexGuard<'_, usize> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Long<'_, T> {
    fn drop(&mut self) {
        *self.0.long() -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_for_a_long_operation_stops_nobody() {
        let gate = Gate::<u32>::default();
        let ended = AtomicBool::new(false);
        let long = gate.begin_long(gate.seize());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                *gate.seize() = 1;
                assert!(ended.load(SeqCst));
            });
            for _ in 0..100 {
                assert_eq!(*gate.share(), 0);
                assert!(gate.seize_or_pause(Duration::from_millis(1)).is_none());
            }
            assert!(!waiting.is_finished());
            ended.store(true, SeqCst);
            drop(long);
        });
        assert_eq!(*gate.share(), 1);
        assert!(gate.seize_or_pause(Duration::ZERO).is_some());
    }
}
