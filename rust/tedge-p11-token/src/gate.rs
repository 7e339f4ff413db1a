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
    long: Mutex<LongOnes>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct LongOnes {
    /// Under way. Grows only while `inside` is seized.
    running: usize,
    /// Whether somebody waits for their end however long that takes.
    is_awaited: bool,
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
            let ended = self.ended.wait_while(self.long(), |long| long.running > 0);
            drop(ended.unwrap_or_else(PoisonError::into_inner));
            if let Some(inside) = self.seize_now() {
                return inside;
            }
        }
    }

    /// Alone, once no long operation is under way; none for who would have to wait for it together with
    /// somebody else, and longer than a moment. Who waits takes up what those could use who share.
    pub(crate) fn seize_soon(&self) -> Option<RwLockWriteGuard<'_, T>> {
        loop {
            let mut long = self.long();
            if long.running > 0 && long.is_awaited {
                let ended = self
                    .ended
                    .wait_timeout_while(long, MOMENT, |long| long.running > 0);
                let (long, _) = ended.unwrap_or_else(PoisonError::into_inner);
                if long.running > 0 {
                    return None;
                }
            } else if long.running > 0 {
                long.is_awaited = true;
                let ended = self.ended.wait_while(long, |long| long.running > 0);
                ended.unwrap_or_else(PoisonError::into_inner).is_awaited = false;
            } else {
                drop(long);
            }
            if let Some(inside) = self.seize_now() {
                return Some(inside);
            }
        }
    }

    /// Alone, if no long operation is under way; otherwise none, after `pause` or at its end.
    pub(crate) fn seize_or_pause(&self, pause: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        let long = self.long();
        if long.running > 0 {
            let _ = self.ended.wait_timeout(long, pause);
            return None;
        }
        drop(long);
        self.seize_now()
    }

    /// Turns the use of who is alone into a long one beside others.
    pub(crate) fn begin_long(&self, inside: RwLockWriteGuard<'_, T>) -> Long<'_, T> {
        self.long().running += 1;
        drop(inside);
        Long(self)
    }

    fn seize_now(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let inside = self.inside.write().unwrap_or_else(PoisonError::into_inner);
        // None begins from here on.
        let free = self.long().running == 0;
        free.then_some(inside)
    }

    fn long(&self) -> MutexGuard<'_, LongOnes> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Long<'_, T> {
    fn drop(&mut self) {
        self.0.long().running -= 1;
        self.0.ended.notify_all();
    }
}

/// Longer than it takes to make an EC key in software.
const MOMENT: Duration = Duration::from_millis(200);

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

    #[test]
    fn one_waits_for_a_long_operation_and_others_are_told() {
        let gate = Gate::<u32>::default();
        for _ in 0..2 {
            let long = gate.begin_long(gate.seize());
            thread::scope(|scope| {
                let waiting = scope.spawn(|| gate.seize_soon().is_some());
                while !gate.long().is_awaited {
                    thread::yield_now();
                }
                assert!(gate.seize_soon().is_none());
                assert!(!waiting.is_finished());
                drop(long);
                assert!(waiting.join().unwrap());
            });
            assert!(gate.seize_soon().is_some());
        }
    }
}
