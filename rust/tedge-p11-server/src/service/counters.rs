//! What the signer has done since it started.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tedge_daemon::cut;
use tedge_p11_config::Operation;
use tedge_p11_protocol::Latency;

use super::failure::Failure;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) signatures: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) throttled: AtomicU64,
    latency: Histogram,
    last_error: Mutex<Option<LastError>>,
}

/// What failed last.
#[derive(Clone, Debug)]
pub(crate) struct LastError {
    pub(crate) at: Instant,
    /// It names another user's keys and tokens.
    pub(crate) message: String,
    /// What everybody may know: the `CKR_` code, or where to look.
    pub(crate) code: String,
}

/// Durations by size: four classes an octave, so what is told is at most a quarter too long.
#[derive(Debug)]
struct Histogram {
    classes: [AtomicU64; CLASSES],
    max: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, operation: Operation, took: Duration, failure: Option<&Failure>) {
        self.requests.fetch_add(1, Relaxed);
        match failure {
            None if operation == Operation::Sign => {
                self.signatures.fetch_add(1, Relaxed);
                self.latency.add(took);
            }
            None => {}
            Some(failure) if failure.is_refusal() => {
                self.refused.fetch_add(1, Relaxed);
            }
            Some(failure) => {
                self.failed.fetch_add(1, Relaxed);
                *self.lock() = Some(LastError {
                    at: Instant::now(),
                    message: cut(&failure.to_string(), LAST_ERROR).into_owned(),
                    code: failure
                        .code()
                        .map_or_else(|| "see the journal".to_owned(), |code| code.to_string()),
                });
            }
        }
    }

    /// What failed last, and when.
    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.lock().clone()
    }

    /// How long the signatures took.
    pub(crate) fn latency(&self) -> Latency {
        self.latency.summary()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<LastError>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Characters of a failure's text that the status has; a client may have sent most of it.
const LAST_ERROR: usize = 1024;

impl Histogram {
    fn add(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.classes[class(microseconds)].fetch_add(1, Relaxed);
        self.max.fetch_max(microseconds, Relaxed);
    }

    fn summary(&self) -> Latency {
        let counts: Vec<u64> = self
            .classes
            .iter()
            .map(|class| class.load(Relaxed))
            .collect();
        let all: u64 = counts.iter().sum();
        let max = self.max.load(Relaxed);
        let percentile = |percent: u64| {
            let wanted = (all * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let class = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            class.map_or(0, |class| upper_bound(class).min(max))
        };
        Latency {
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
            max,
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            classes: [const { AtomicU64::new(0) }; CLASSES],
            max: AtomicU64::new(0),
        }
    }
}

/// Of a number: twice its octave's first two bits after the leading one.
fn class(microseconds: u64) -> usize {
    let value = microseconds.max(4);
    let octave = value.ilog2();
    let quarter = (value >> (octave - 2)) & 3;
    // At most 4 * 62 + 3, which fits any usize.
    let class = usize::try_from(4 * u64::from(octave - 2) + quarter).unwrap_or(CLASSES);
    class.min(CLASSES - 1)
}

/// The greatest number in a class.
fn upper_bound(class: usize) -> u64 {
    let (octave, quarter) = (class / 4, class as u64 % 4);
    ((5 + quarter) << octave) - 1
}

/// Up to 134 s, more than any call may take.
const CLASSES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may have sent most of what failed.
    #[test]
    fn the_last_error_is_cut() {
        let counters = Counters::default();
        let failure = Failure::OtherToken {
            only: "x".repeat(100_000),
        };
        counters.count(Operation::InitToken, Duration::ZERO, Some(&failure));
        let last = counters.last_error().unwrap();
        assert!(last.message.starts_with("this signer is confined"));
        assert!(
            last.message.len() < LAST_ERROR + 50,
            "{}",
            last.message.len()
        );
    }

    #[test]
    fn classes_are_a_quarter_wide_at_most() {
        for value in (4..200_000_000_u64).step_by(99_991).chain(4..5000) {
            let class = class(value);
            if class == CLASSES - 1 {
                continue;
            }
            let upper = upper_bound(class);
            assert!(
                value <= upper && upper <= value + value / 4,
                "{value} {upper}"
            );
        }
    }

    #[test]
    fn percentiles() {
        let histogram = Histogram::default();
        assert_eq!(histogram.summary().max, 0);
        for ms in 1..=100 {
            histogram.add(Duration::from_millis(ms));
        }
        let latency = histogram.summary();
        let near = |value: u64, exact: u64| value >= exact && value <= exact + exact / 4;
        assert!(near(latency.p50, 50_000), "{latency:?}");
        assert!(near(latency.p90, 90_000) && near(latency.p99, 99_000));
        assert_eq!(latency.max, 100_000);
    }
}
