//! Pauses between attempts to connect.

use std::time::Duration;

/// Pauses that double up to a maximum, each by chance between half and all of it: devices that lost the
/// same cloud do not come back all at once.
#[derive(Debug)]
pub(crate) struct ReconnectPause {
    next: Duration,
    max: Duration,
}

impl ReconnectPause {
    pub(crate) fn new(max: Duration) -> Self {
        Self {
            next: FIRST.min(max),
            max,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(0.5 + chance() / 2.0)
    }

    /// After a connection that was of use.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.max);
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    let random = rustls::crypto::ring::default_provider().secure_random;
    // Without randomness the pauses are shorter, nothing else.
    let _ = random.fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

const FIRST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_differ() {
        let mut reconnect_pause = ReconnectPause::new(Duration::from_secs(5));
        for full in [1, 2, 4, 5, 5] {
            let (pause, full) = (reconnect_pause.next(), Duration::from_secs(full));
            assert!(pause >= full / 2 && pause <= full, "{pause:?}");
        }
        let pauses: Vec<_> = (0..8).map(|_| reconnect_pause.next()).collect();
        assert!(pauses.windows(2).any(|two| two[0] != two[1]));
        reconnect_pause.reset();
        assert!(reconnect_pause.next() <= FIRST);
    }
}
