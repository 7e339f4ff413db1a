//! Waiting longer with each failure.

use std::time::{Duration, Instant};

/// Says when something that keeps failing may be tried again.
#[derive(Debug)]
pub(crate) struct BackOff {
    free: u32,
    first: Duration,
    longest: Duration,
    failures: u32,
    last: Option<Instant>,
    until: Option<Instant>,
}

impl BackOff {
    /// The first `free` failures cost nothing, then the wait is `first`, and twice as long with each
    /// failure until it is `longest`.
    pub(crate) const fn new(free: u32, first: Duration, longest: Duration) -> Self {
        Self {
            free,
            first,
            longest,
            failures: 0,
            last: None,
            until: None,
        }
    }

    /// How long to wait yet; zero if now is the time.
    pub(crate) fn left(&self) -> Duration {
        self.until
            .map(|until| until.saturating_duration_since(Instant::now()))
            .unwrap_or_default()
    }

    pub(crate) fn failed(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() > FORGOTTEN) {
            self.succeeded();
        }
        self.last = Some(Instant::now());
        self.failures = self.failures.saturating_add(1);
        let Some(paid) = self.failures.checked_sub(self.free + 1) else {
            return;
        };
        let wait = self.first * (1 << paid.min(16));
        self.until = Some(Instant::now() + wait.min(self.longest));
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }
}

/// A failure so long ago has nothing to do with the next one.
const FORGOTTEN: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest() {
        let second = Duration::from_secs(1);
        let mut back_off = BackOff::new(2, 10 * second, 35 * second);
        for longest in [0, 0, 10, 20, 35, 35] {
            back_off.failed();
            let left = back_off.left();
            assert!(left <= longest * second, "{left:?}");
            assert!(left + second > longest * second || longest == 0, "{left:?}");
        }
        back_off.succeeded();
        assert!(back_off.left().is_zero());
    }
}
