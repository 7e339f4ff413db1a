//! Lines of the log that clients could fill it with.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says when a warning is due again.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it has not been due for a minute. It is not for the next one, then.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

const PAUSE: Duration = Duration::from_secs(60);
