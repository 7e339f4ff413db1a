//! Who may use a token at the same time as others.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use crate::lock::lock;

/// A lock that many threads share or one thread seizes, as with an `RwLock`. Beside them, one thread may run a
/// long operation. A thread that waits to seize the gate until a long operation ends lets other threads share the
/// gate meanwhile. With an `RwLock` alone it would not: no reader gets in while a writer waits.
#[derive(Debug, Default)]
pub(crate) struct Gate<T> {
    inside: RwLock<T>,
    long: Mutex<LongOnes>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct LongOnes {
    /// How many are under way. This number grows only while `inside` is seized.
    running: usize,
    /// Whether a thread in `seize_soon` waits for their end, however long that takes.
    is_awaited: bool,
}

/// A long operation under way.
#[derive(Debug)]
pub(crate) struct Long<'a, T>(&'a Gate<T>);

impl<T> Gate<T> {
    /// Shares the gate with all other threads that share it. This costs what an `RwLock` costs.
    pub(crate) fn share(&self) -> RwLockReadGuard<'_, T> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seizes the gate: waits until no long operation is under way and no other thread shares the gate.
    pub(crate) fn seize(&self) -> RwLockWriteGuard<'_, T> {
        loop {
            // This thread does not wait in the queue of `inside` for the long operation: there, it would keep
            // other threads from sharing the gate.
            let ended = self.ended.wait_while(self.long(), |long| long.running > 0);
            drop(ended.unwrap_or_else(PoisonError::into_inner));
            if let Some(inside) = self.seize_now() {
                return inside;
            }
        }
    }

    /// Seizes the gate as [`seize`](Self::seize) does, but only one thread waits for the end of a long
    /// operation. The second thread that would have to wait for it gives up after a moment, and gets nothing: a
    /// thread that waits takes a place that other requests could use, and a long operation can take a minute.
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

    /// Seizes the gate if no long operation is under way. Otherwise this waits until that operation ends, but not
    /// longer than `pause`, and gets nothing.
    pub(crate) fn seize_or_pause(&self, pause: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        let long = self.long();
        if long.running > 0 {
            let _ = self.ended.wait_timeout(long, pause);
            return None;
        }
        drop(long);
        self.seize_now()
    }

    /// Begins a long operation in the thread that has seized the gate, and lets other threads in again.
    pub(crate) fn begin_long(&self, inside: RwLockWriteGuard<'_, T>) -> Long<'_, T> {
        self.long().running += 1;
        drop(inside);
        Long(self)
    }

    fn seize_now(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let inside = self.inside.write().unwrap_or_else(PoisonError::into_inner);
        // A long operation begins only in a thread that has seized `inside`, which is this one from here on.
        let free = self.long().running == 0;
        free.then_some(inside)
    }

    fn long(&self) -> MutexGuard<'_, LongOnes> {
        lock(&self.long)
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
