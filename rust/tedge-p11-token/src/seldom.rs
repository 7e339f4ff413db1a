//! Lines of the log that clients could fill it with.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// Says when a warning is due again.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it has not been due for a minute. It is not for the next one, then.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = lock(&self.0);
        let is_due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

const PAUSE: Duration = Duration::from_secs(60);
