//! The clock by which tries of PINs are kept.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time since the machine started, not counting the time that it slept (`CLOCK_MONOTONIC`): a TPM's own
/// clock, by which it forgets wrong tries, stands still in that time, too. The time of day is of no use here:
/// somebody may set it, and many devices start without one.
pub(crate) fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is negative on this clock.
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}
