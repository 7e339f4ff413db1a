//! Ten thousand devices and one CA in virtual time. When a device asks is decided by the function that the program goes
//! by.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tedge_hsm::renewal_plan::{Failures, Plan, Term, plan};

pub const HOUR: u64 = 3_600;
pub const DAY: u64 = 24 * HOUR;

/// The fleet, and how long it is watched. Times are seconds since the first device was made.
#[derive(Clone, Copy)]
pub struct Fleet {
    pub devices: u32,
    /// Of a certificate.
    pub life: u64,
    /// In which all devices are made.
    pub made_within: u64,
    pub watched: u64,
    /// By the plan, or as it was before: once a day, from 30 days before the end on.
    pub spread: bool,
}

/// What the CA does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ca {
    Well,
    /// Nobody answers: nothing reaches it.
    Away,
    /// Half of the requests take longer than the device waits. Each reaches it.
    Slow,
    /// One in ten.
    Refuses,
}

/// What came of it.
pub struct Figures {
    pub requests: u64,
    pub failed: u64,
    pub renewals: u64,
    pub expired: u64,
    /// Requests that reached the CA, by the hour.
    pub mean: f64,
    pub busiest: u64,
    /// Least that was left of a certificate when it was renewed, in seconds.
    pub least_left: u64,
    watched: u64,
}

struct Device {
    term: Term,
    failures: Failures,
    renewals: u32,
    /// Its minute in each hour, in seconds, as FixedRandomDelay= gives it.
    minute: u64,
}

pub fn simulate(fleet: &Fleet, ca: impl Fn(u64) -> Ca) -> Figures {
    let mut devices = Vec::new();
    let mut events = BinaryHeap::new();
    for number in 0..fleet.devices {
        let made = chance(number, 0, "made") % fleet.made_within.max(1);
        let device = Device {
            term: term(number, 0, made, fleet.life),
            failures: Failures::default(),
            renewals: 0,
            minute: chance(number, 0, "minute") % HOUR,
        };
        let next = device.next(fleet, made);
        events.push(Reverse((next, number)));
        devices.push(device);
    }
    let hours = usize::try_from(fleet.watched / HOUR).unwrap();
    let mut load = vec![0_u64; hours + 1];
    let mut figures = Figures {
        requests: 0,
        failed: 0,
        renewals: 0,
        expired: 0,
        mean: 0.0,
        busiest: 0,
        least_left: u64::MAX,
        watched: fleet.watched,
    };
    while let Some(Reverse((now, number))) = events.pop() {
        if now >= fleet.watched {
            break;
        }
        let device = &mut devices[usize::try_from(number).unwrap()];
        if device.plan(fleet, now) == Plan::Now {
            let state = ca(now);
            if state != Ca::Away {
                load[usize::try_from(now / HOUR).unwrap()] += 1;
                figures.requests += 1;
            }
            let luck = chance(number, now, "luck");
            let works = match state {
                Ca::Well => true,
                Ca::Away => false,
                Ca::Slow => luck % 2 == 0,
                Ca::Refuses => luck % 10 != 0,
            };
            if now >= device.term.until {
                // An expired one opens no door.
                figures.expired += 1;
                continue;
            }
            if works {
                figures.renewals += 1;
                figures.least_left = figures.least_left.min(device.term.until - now);
                device.renewals += 1;
                device.failures = Failures::default();
                device.term = term(number, device.renewals, now, fleet.life);
            } else {
                figures.failed += 1;
                device.failures.count += 1;
                device.failures.last = now;
            }
        }
        events.push(Reverse((device.next(fleet, now), number)));
    }
    figures.busiest = load.iter().copied().max().unwrap_or_default();
    let count = |number: u64| f64::from(u32::try_from(number).unwrap());
    figures.mean = count(figures.requests) / count(hours as u64);
    figures
}

impl Device {
    fn plan(&self, fleet: &Fleet, now: u64) -> Plan {
        if fleet.spread {
            return plan(&self.term, None, &self.failures, now);
        }
        let due = self.term.until - 30 * DAY;
        if now < due { Plan::At(due) } else { Plan::Now }
    }

    /// When the timer runs the program to some effect.
    fn next(&self, fleet: &Fleet, now: u64) -> u64 {
        let (interval, delay) = if fleet.spread {
            (HOUR, self.minute)
        } else {
            // RandomizedDelaySec=12h, at midnight.
            (DAY, self.minute * 12)
        };
        let after = match self.plan(fleet, now + 1) {
            Plan::Now => now + 1,
            Plan::At(then) => then,
        };
        after.saturating_sub(delay).div_ceil(interval) * interval + delay
    }
}

fn term(number: u32, renewals: u32, from: u64, life: u64) -> Term {
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&chance(number, renewals.into(), "certificate").to_be_bytes());
    Term {
        from,
        until: from + life,
        fingerprint,
    }
}

/// The same in each run.
fn chance(number: u32, moment: u64, what: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, moment, what).hash(&mut hasher);
    hasher.finish()
}

impl Figures {
    /// The busiest hour, in means.
    pub fn times(&self) -> f64 {
        f64::from(u32::try_from(self.busiest).unwrap()) / self.mean
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests in {} days ({} failed), {:.1} an hour, {} in the busiest: {:.2} times; {} expired; {:.1} days \
             left at the latest renewal",
            self.requests,
            self.watched / DAY,
            self.failed,
            self.mean,
            self.busiest,
            self.times(),
            self.expired,
            f64::from(u32::try_from(self.least_left.min(u64::from(u32::MAX))).unwrap()) / 86_400.0
        )
    }
}
