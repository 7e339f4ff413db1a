//! When a device of a fleet renews its certificate: a function of the certificate, of what was tried, and of the time, and of
//! nothing else. `tests/fleet` has ten thousand devices go by it.
//!
//! Devices that were made on one day have certificates that end on one day. So each renews at a moment of its own, spread
//! over most of its certificate's life; and after a failure each waits for a time of its own, which doubles, so that those
//! that a CA has missed do not come back at once.

/// What of a certificate counts. Times are seconds of the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// `notBefore`.
    pub from: u64,
    /// `notAfter`.
    pub until: u64,
    /// SHA-256 of the certificate: what tells the device's moments from those of others, as long as it has this certificate.
    pub fingerprint: [u8; 32],
}

/// What was tried since a renewal last worked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    /// How often in a row.
    pub count: u32,
    /// When last, in seconds of the Unix epoch.
    pub last: u64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Ask the CA now.
    Now,
    /// Not before then, in seconds of the Unix epoch.
    At(u64),
}

/// Whether the certificate is to be renewed at `now`, so that it is renewed when it is valid for `reserve` more seconds at the
/// latest; a third of its life without. More than two thirds count as two thirds: a certificate that is shorter than the
/// operator thought is not renewed again as soon as it is there.
#[must_use]
pub fn plan(term: &Term, reserve: Option<u64>, failures: &Failures, now: u64) -> Plan {
    let life = term.until.saturating_sub(term.from);
    let latest = life - reserve_of(life, reserve);
    // From a third to the whole of that time, so that each hour of the first term has as many as those of later ones.
    let due = term.from + between(latest / 3, latest, chance(term, 0));
    let next = match pause_until(term, failures, now) {
        Some(end) => due.max(end),
        None => due,
    };
    if now < next {
        Plan::At(next)
    } else {
        Plan::Now
    }
}

/// Whether half of the time is gone in which the certificate should have been renewed: `reserve` seconds, or a third of its
/// life, before its end. As in [`plan`], more than two thirds of the life count as two thirds.
#[must_use]
pub fn is_urgent(term: &Term, reserve: Option<u64>, now: u64) -> bool {
    let life = term.until.saturating_sub(term.from);
    term.until.saturating_sub(now) < reserve_of(life, reserve) / 2
}

/// How long before its end a certificate that is valid for `life` is to be renewed, all in seconds.
fn reserve_of(life: u64, reserve: Option<u64>) -> u64 {
    reserve.unwrap_or(life / 3).min(life / 3 * 2)
}

/// Until when the device waits after what failed last; none if it does not.
#[must_use]
pub fn pause_until(term: &Term, failures: &Failures, now: u64) -> Option<u64> {
    let Failures { count, last } = *failures;
    // A clock that was wrong, or an older certificate's failures.
    if count == 0 || last > now || last < term.from {
        return None;
    }
    let life = term.until.saturating_sub(term.from);
    let end = last.saturating_add(pause(term, life, failures));
    (now < end).then_some(end)
}

/// How long to wait after the last failure, in seconds.
fn pause(term: &Term, life: u64, failures: &Failures) -> u64 {
    let longest = life / LONGEST;
    let left = term.until.saturating_sub(failures.last);
    let doubled = (life / FIRST).saturating_mul(1 << (failures.count - 1).min(20));
    // The less time is left, the more often. One that has expired is beyond help by haste.
    let pause = match left {
        0 => longest,
        left => doubled.min(longest).min(left / 8),
    };
    between(pause / 4, pause, chance(term, failures.count))
}

/// From `low` to `high`, by chance.
fn between(low: u64, high: u64, chance: u64) -> u64 {
    let part = (u128::from(high - low) * u128::from(chance)) >> 64;
    // Less than the width.
    low + u64::try_from(part).unwrap_or_default()
}

/// The `number`th of a certificate's numbers: evenly distributed over all of u64, and the same each time. A hash has that
/// property; SplitMix64 (Steele, Lea and Flood, 2014) makes more of it.
fn chance(term: &Term, number: u32) -> u64 {
    let mut seed = [0; 8];
    seed.copy_from_slice(&term.fingerprint[..8]);
    let step = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut mixed = u64::from_be_bytes(seed).wrapping_add(step);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Of a certificate's life: two days of 90. Those that a CA has missed in a day come back over the two that follow.
const FIRST: u64 = 45;
/// Four days of 90.
const LONGEST: u64 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn term(days: u64, device: u8) -> Term {
        Term {
            from: 1_000 * DAY,
            until: (1_000 + days) * DAY,
            fingerprint: [device; 32],
        }
    }

    fn due(term: &Term, reserve: Option<u64>) -> u64 {
        match plan(term, reserve, &Failures::default(), term.from) {
            Plan::At(due) => due - term.from,
            Plan::Now => 0,
        }
    }

    #[test]
    fn a_renewal_is_urgent_before_the_certificate_ends() {
        let hour = DAY / 24;
        for (days, reserve, hours_left, urgent) in [
            (90, Some(30), 15 * 24, false),
            (90, Some(30), 15 * 24 - 1, true),
            (90, None, 15 * 24 - 1, true),
            // More than the whole life.
            (6, Some(30), 2 * 24, false),
            (6, Some(30), 2 * 24 - 1, true),
            // Where a third of the life is less than a day.
            (1, None, 4, false),
            (1, None, 3, true),
            (1, None, 0, true),
        ] {
            let term = term(days, 1);
            let now = term.until - hours_left * hour;
            let is_urgent = is_urgent(&term, reserve.map(|days: u64| days * DAY), now);
            assert_eq!(is_urgent, urgent, "{days} {reserve:?} {hours_left}");
        }
    }

    #[test]
    fn each_device_has_a_moment_of_its_own_within_the_window() {
        for (days, reserve, first, last) in [
            (90, Some(30), 20, 60),
            (90, None, 20, 60),
            (365, Some(180), 61, 185),
            // More than the whole life.
            (6, Some(30), 0, 2),
        ] {
            let mut moments = Vec::new();
            for device in 0..=255 {
                let term = term(days, device);
                let reserve = reserve.map(|days: u64| days * DAY);
                let due = due(&term, reserve);
                assert!((first * DAY..=last * DAY).contains(&due), "{due}");
                let at = |now| plan(&term, reserve, &Failures::default(), now);
                assert_eq!(at(term.from + due - 1), Plan::At(term.from + due));
                assert_eq!(at(term.from + due), Plan::Now);
                assert_eq!(at(term.until + DAY), Plan::Now);
                moments.push(due);
            }
            moments.sort_unstable();
            moments.dedup();
            assert!(moments.len() > 250, "{days}: {}", moments.len());
        }
    }

    #[test]
    fn the_pause_doubles_and_ends_before_the_certificate_does() {
        for device in 0..=255 {
            let term = term(90, device);
            let last = term.from + 61 * DAY;
            let pause = |count, last| {
                let failures = Failures { count, last };
                match plan(&term, None, &failures, last) {
                    Plan::At(next) => next - last,
                    Plan::Now => 0,
                }
            };
            // An eighth of the 29 days that are left.
            let most = 29 * DAY / 8;
            for (count, longest) in [(1, 2 * DAY), (2, most), (3, most), (u32::MAX, most)] {
                let pause = pause(count, last);
                assert!((longest / 4..=longest).contains(&pause), "{count}: {pause}");
            }
            // An hour before the end, seven minutes and a half.
            assert!(pause(9, term.until - 3600) <= 450);
            // A CA that has turned the device away for good is not asked each hour.
            assert!(pause(9, term.until + 1) >= DAY);
        }
    }

    #[test]
    fn what_does_not_belong_to_this_certificate_does_not_count() {
        let term = term(90, 7);
        let now = term.until - DAY;
        for last in [term.from - 1, now + 1, u64::MAX] {
            let failures = Failures { count: 20, last };
            assert_eq!(plan(&term, None, &failures, now), Plan::Now);
        }
        // Neither a certificate without a life nor one from the future.
        for (from, until) in [(0, 0), (5, 4), (u64::MAX, u64::MAX)] {
            let term = Term {
                from,
                until,
                ..term
            };
            let _ = plan(&term, Some(u64::MAX), &Failures { count: 1, last: 5 }, 5);
        }
    }
}
