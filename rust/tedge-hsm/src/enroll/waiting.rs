//! How long an enrolment waits for somebody, or something, to decide.

use std::time::{Duration, Instant};

use anyhow::bail;

/// The time that the operator gives to all of an enrolment.
#[derive(Debug)]
pub(crate) struct Waiting {
    deadline: Instant,
    limit: Duration,
}

impl Waiting {
    /// For `limit` from now on.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            limit,
        }
    }

    /// Waits for `pause`; fails at once, with what is waited for, if that would be too long.
    pub(crate) fn pause(&self, pause: Duration, what: &str) -> anyhow::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || left < pause {
            bail!(
                "{what}: not within the {} s of --wait; run this again, and it goes on with the same key and request",
                self.limit.as_secs()
            );
        }
        std::thread::sleep(pause);
        Ok(())
    }
}
