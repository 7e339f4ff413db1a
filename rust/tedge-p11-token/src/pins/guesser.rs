//! What is known of one caller who gives PINs, and when one of them is compared again.

use std::time::Duration;

use tedge_p11_protocol::Pin;

use super::kept_text::{KeptGuesser, Trace};

/// What is known of one caller.
#[derive(Debug, Default)]
pub(super) struct Guesser {
    /// How many different wrong PINs it gave.
    wrong: u32,
    /// When it gave the last one of them, since the machine started.
    at: Duration,
    /// Whether it has given the right PIN since, after the pause.
    has_waited: bool,
    /// Whether it has ever given the right PIN.
    was_right: bool,
    /// The last few wrong ones, the latest last.
    pins: Vec<Wrong>,
}

#[derive(Debug)]
struct Wrong {
    /// Not if only an earlier process saw it.
    pin: Option<Pin>,
    /// Not before it is settled.
    trace: Option<Trace>,
}

/// A wrong PIN that was counted.
#[derive(Debug)]
pub(super) struct Guess {
    pin: Pin,
    at: Duration,
    /// What it was before.
    was_at: Duration,
    had_waited: bool,
}

/// Why nothing that a caller gives is compared now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waits {
    /// For so long after the last wrong PIN.
    Pause(Duration),
    /// Until it is known whether the last guess was one that an earlier process counted.
    Unsettled,
}

impl Guesser {
    /// Why nothing of the caller's is compared now, if so.
    pub(super) fn waits(&mut self, now: Duration) -> Option<Waits> {
        if now.saturating_sub(self.at) > FORGOTTEN {
            self.wrong = 0;
            self.pins.clear();
        }
        let pause = self.pause();
        if self.has_waited || now.saturating_sub(self.at) >= pause {
            None
        } else if self.is_unsettled() {
            Some(Waits::Unsettled)
        } else {
            Some(Waits::Pause(pause))
        }
    }

    /// Counts that `pin` was wrong, unless it was lately.
    pub(super) fn was_wrong(&mut self, now: Duration, pin: &Pin) -> Option<Guess> {
        let mut known = self.pins.iter().map(|wrong| wrong.pin.as_ref());
        if let Some(known) = known.position(|known| known == Some(pin)) {
            // The one in the caller's settings, perhaps: it is forgotten last.
            let again = self.pins.remove(known);
            self.pins.push(again);
            return None;
        }
        if self.pins.len() >= MAX_PINS {
            self.pins.remove(0);
        }
        self.pins.push(Wrong {
            pin: Some(pin.clone()),
            trace: None,
        });
        let guess = Guess {
            pin: pin.clone(),
            at: now,
            was_at: self.at,
            had_waited: self.has_waited,
        };
        self.wrong = self.wrong.saturating_add(1);
        self.at = now;
        self.has_waited = false;
        Some(guess)
    }

    /// Remembers that the caller gave the right PIN. Tells whether that is news.
    pub(super) fn was_right(&mut self) -> bool {
        let waited = self.has_waited || !self.pause().is_zero();
        let is_news = !self.was_right || self.has_waited != waited;
        self.was_right = true;
        self.has_waited = waited;
        is_news
    }

    /// Whether the caller has ever given the right PIN.
    pub(super) fn has_been_right(&self) -> bool {
        self.was_right
    }

    /// How many different wrong PINs the caller gave.
    pub(super) fn wrong(&self) -> u32 {
        self.wrong
    }

    /// How long nothing is compared after the last wrong PIN.
    pub(super) fn pause(&self) -> Duration {
        pause(self.wrong)
    }

    pub(super) fn has_no_pins(&self) -> bool {
        self.pins.is_empty()
    }

    /// Keeps nothing of `right`, which has this trace. Tells whether there was something.
    pub(super) fn forget(&mut self, right: &Pin, trace: Option<Trace>) -> bool {
        let before = self.pins.len();
        self.pins.retain(|wrong| match &wrong.pin {
            Some(pin) => pin != right,
            None => wrong.trace != trace,
        });
        self.pins.len() < before
    }

    /// Puts the trace beside the PIN. If an earlier process counted this PIN, takes back that this one did. Tells
    /// whether it stays counted.
    pub(super) fn settle(&mut self, guess: &Guess, trace: Option<Trace>) -> bool {
        let is_this = |wrong: &Wrong| wrong.pin.as_ref() == Some(&guess.pin);
        let Some(this) = self.pins.iter().position(is_this) else {
            return true; // forgotten meanwhile: many others came
        };
        let is_earlier = |wrong: &Wrong| wrong.pin.is_none() && wrong.trace == trace;
        let earlier = self.pins.iter().position(is_earlier);
        self.pins[this].trace = trace;
        let Some(earlier) = earlier.filter(|_| trace.is_some()) else {
            return true;
        };
        self.pins.remove(earlier);
        self.wrong = self.wrong.saturating_sub(1);
        if self.at == guess.at {
            self.at = guess.was_at;
            self.has_waited = guess.had_waited;
        }
        false
    }

    /// Whether a guess that was counted may turn out to be one that an earlier process counted.
    fn is_unsettled(&self) -> bool {
        let mut earlier = self.pins.iter().map(|wrong| wrong.pin.is_none());
        let mut unsettled = self.pins.iter().map(|wrong| wrong.trace.is_none());
        earlier.any(|is| is) && unsettled.any(|is| is)
    }

    /// What a later process needs to know.
    pub(super) fn to_be_kept(&self) -> KeptGuesser {
        KeptGuesser {
            wrong: self.wrong,
            at: self.at,
            has_waited: self.has_waited,
            was_right: self.was_right,
            traces: self.pins.iter().filter_map(|wrong| wrong.trace).collect(),
        }
    }
}

impl From<KeptGuesser> for Guesser {
    fn from(kept: KeptGuesser) -> Self {
        let pins = kept.traces.into_iter().map(|trace| Wrong {
            pin: None,
            trace: Some(trace),
        });
        Self {
            wrong: kept.wrong,
            at: kept.at,
            has_waited: kept.has_waited,
            was_right: kept.was_right,
            pins: pins.collect(),
        }
    }
}

impl Guess {
    pub(super) fn pin(&self) -> &Pin {
        &self.pin
    }
}

/// How long nothing is compared after so many wrong PINs, counted from the last one.
fn pause(wrong: u32) -> Duration {
    let doublings = wrong.checked_sub(FREE);
    doublings.map_or(Duration::ZERO, |doublings| {
        (FIRST_PAUSE * (1 << doublings.min(16))).min(LONGEST_PAUSE)
    })
}

/// Wrong PINs after which there is a pause.
const FREE: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// 24 guesses a day: a PIN of four digits takes seven months on the average.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Who gave no wrong PIN for so long begins anew. That gains nobody a guess: the pauses before the longest one
/// allow for ten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// Wrong PINs of one caller that do not count again.
const MAX_PINS: usize = 8;
