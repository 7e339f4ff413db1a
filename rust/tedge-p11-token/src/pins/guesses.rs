//! Guesses at a PIN, most of which this process can tell from the right one by itself: the token never sees them,
//! and so counts none.
//!
//! A wrong PIN counts for the caller who gave it. The same one again does not, since a caller may have a wrong one
//! in its settings. After two, the caller has to wait, each time twice as long, and meanwhile none of its PINs is
//! compared, right or wrong. Other callers do not notice.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tedge_p11_protocol::{Pin, Uri};

use super::given::{Caller, GivenPin, Giver};
use super::guesser::{Guess, Guesser, Waits};
use super::kept::PinOf;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::uptime::uptime;

/// Who gave one PIN of one token, and with which result.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    state: Mutex<State>,
    /// Where it is kept over restarts.
    kept: Option<PinOf>,
    /// Counts what there is to [`settle`](Self::settle).
    unsettled: Arc<AtomicUsize>,
    settling: Mutex<()>,
    keeping: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    guessers: HashMap<Caller, Guesser>,
    unsettled: Vec<Unsettled>,
}

/// What is yet to be kept of a caller.
#[derive(Debug)]
struct Unsettled {
    caller: Caller,
    /// That was counted.
    guess: Option<Guess>,
}

impl Guesses {
    /// `unsettled` counts what there is to settle, here and elsewhere.
    pub(super) fn new(kept: Option<PinOf>, unsettled: Arc<AtomicUsize>) -> Self {
        let earlier = kept.as_ref().map(PinOf::guessers).unwrap_or_default();
        let guessers = earlier
            .into_iter()
            .map(|(caller, kept)| (caller, Guesser::from(kept)));
        Self {
            state: Mutex::new(State {
                guessers: guessers.collect(),
                unsettled: Vec::new(),
            }),
            kept,
            unsettled,
            settling: Mutex::default(),
            keeping: Mutex::default(),
        }
    }

    /// Fails while no PIN of the caller who gave `given` is compared.
    pub(super) fn admit(&self, given: GivenPin<'_>, token: &Uri) -> Result<()> {
        self.with_state(given.by, |state, caller| {
            state.admit(uptime(), caller, token)
        })
        .unwrap_or(Ok(()))
    }

    /// Fails if `given` is not `right`, which counts, or while it is not compared. Takes no while.
    pub(super) fn compare(&self, given: GivenPin<'_>, right: &Pin, token: &Uri) -> Result<()> {
        self.compare_at(uptime(), given, right, token)
    }

    fn compare_at(
        &self,
        now: Duration,
        given: GivenPin<'_>,
        right: &Pin,
        token: &Uri,
    ) -> Result<()> {
        // From the first look to the count, nobody else has the state: of many PINs that come at once, no more
        // are compared than of many that come one after the other.
        let counted = self.with_state(given.by, |state, caller| {
            state.admit(now, caller, token)?;
            if given.pin == right {
                state.was_right(caller);
            } else {
                state.was_wrong(now, caller, given.pin);
            }
            Ok::<_, Error>(())
        });
        counted.unwrap_or(Ok(()))?;
        if given.pin == right {
            Ok(())
        } else {
            Err(Error::PinDiffers(token.clone()))
        }
    }

    /// Counts that `given` was wrong.
    pub(super) fn was_wrong(&self, given: GivenPin<'_>) {
        self.with_state(given.by, |state, caller| {
            state.was_wrong(uptime(), caller, given.pin);
        });
    }

    /// Remembers that `giver` gave the right PIN.
    pub(super) fn was_right(&self, giver: Giver) {
        self.with_state(giver, State::was_right);
    }

    /// Keeps nothing of `right`, which somebody may have given before it was. Takes a while if something is kept.
    pub(super) fn forget(&self, right: &Pin) {
        let mut state = lock(&self.state);
        if state.guessers.values().all(Guesser::has_no_pins) {
            return;
        }
        let trace = self.kept.as_ref().map(|kept| kept.trace(right));
        let mut changed = Vec::new();
        for (caller, guesser) in &mut state.guessers {
            if guesser.forget(right, trace) {
                changed.push(*caller);
            }
        }
        self.unsettled.fetch_add(changed.len(), SeqCst);
        let changed = changed.into_iter().map(|caller| Unsettled {
            caller,
            guess: None,
        });
        state.unsettled.extend(changed);
    }

    /// Whether `caller` has ever given the right PIN; none if no caller has.
    pub(super) fn has_been_right(&self, caller: Caller) -> Option<bool> {
        let state = lock(&self.state);
        let mut guessers = state.guessers.values();
        guessers.any(Guesser::has_been_right).then(|| {
            let guesser = state.guessers.get(&state.account(caller));
            guesser.is_some_and(Guesser::has_been_right)
        })
    }

    /// Keeps and logs what was counted. After a wrong PIN, this takes a while: whoever calls it must not hold the
    /// token. A caller must not be told how its PIN compared before this is done.
    pub(super) fn settle(&self, token: &Uri) {
        let _settling = lock(&self.settling);
        self.settle_those(token, |_| true);
    }

    /// Keeps who gave the right PIN, and leaves the wrong ones to those who gave them.
    pub(super) fn settle_right_ones(&self, token: &Uri) {
        self.settle_those(token, |unsettled| unsettled.guess.is_none());
    }

    fn settle_those(&self, token: &Uri, is_meant: fn(&Unsettled) -> bool) {
        loop {
            let unsettled = {
                let unsettled = &mut lock(&self.state).unsettled;
                let Some(next) = unsettled.iter().position(is_meant) else {
                    return;
                };
                unsettled.remove(next)
            };
            self.settle_one(unsettled, token);
            self.unsettled.fetch_sub(1, SeqCst);
        }
    }

    fn settle_one(&self, Unsettled { caller, guess }: Unsettled, token: &Uri) {
        let trace = guess
            .as_ref()
            .zip(self.kept.as_ref())
            .map(|(guess, kept)| kept.trace(guess.pin()));
        // Nobody keeps what is older after what is newer.
        let _keeping = lock(&self.keeping);
        let mut state = lock(&self.state);
        let Some(guesser) = state.guessers.get_mut(&caller) else {
            return;
        };
        let stays = guess.is_some_and(|guess| guesser.settle(&guess, trace));
        let (wrong, pause) = (guesser.wrong(), guesser.pause());
        let guesser = guesser.to_be_kept();
        drop(state);
        if stays && !pause.is_zero() {
            log::warn!(
                "{caller} has given {wrong} different PINs that are wrong for token {token}: none of this \
                 user's PINs is looked at for {} s",
                pause.as_secs()
            );
        }
        if let Some(kept) = &self.kept {
            kept.keep_guesser(caller, guesser);
        }
    }

    /// Nothing is counted of the operator.
    fn with_state<T>(
        &self,
        giver: Giver,
        operation: impl FnOnce(&mut State, Caller) -> T,
    ) -> Option<T> {
        let Giver::Caller(caller) = giver else {
            return None;
        };
        let mut state = lock(&self.state);
        let account = state.account(caller);
        let before = state.unsettled.len();
        let result = operation(&mut state, account);
        let new = state.unsettled.len() - before;
        if new > 0 {
            self.unsettled.fetch_add(new, SeqCst);
        }
        Some(result)
    }
}

impl State {
    /// Where those of `caller` are counted: when there are too many callers, the last ones share an account.
    fn account(&self, caller: Caller) -> Caller {
        if self.guessers.len() < MAX_CALLERS || self.guessers.contains_key(&caller) {
            caller
        } else {
            Caller::Nameless
        }
    }

    fn admit(&mut self, now: Duration, caller: Caller, token: &Uri) -> Result<()> {
        let guesser = self.guessers.get_mut(&caller);
        match guesser.and_then(|guesser| guesser.waits(now)) {
            None => Ok(()),
            Some(Waits::Unsettled) => Err(Error::Unsettled),
            Some(Waits::Pause(pause)) => Err(Error::PinPaused {
                token: token.clone(),
                pause,
            }),
        }
    }

    fn was_wrong(&mut self, now: Duration, caller: Caller, pin: &Pin) {
        let guesser = self.guessers.entry(caller).or_default();
        let Some(guess) = guesser.was_wrong(now, pin) else {
            return;
        };
        self.unsettled.push(Unsettled {
            caller,
            guess: Some(guess),
        });
    }

    fn was_right(&mut self, caller: Caller) {
        let guesser = self.guessers.entry(caller).or_default();
        if !guesser.was_right() {
            return;
        }
        let guess = None;
        self.unsettled.push(Unsettled { caller, guess });
    }
}

/// Callers with an account of their own. More than a device has users.
const MAX_CALLERS: usize = 256;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::kept::KeptPins;
    use super::super::kept_text::Role;
    use super::*;

    const GUESSER: Caller = Caller::User(2001);
    const OTHER: Caller = Caller::User(2002);
    const RIGHT: &str = "123456";

    /// What comes of giving a PIN.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Came {
        Right,
        Differs,
        /// Not looked at, for so many seconds.
        Paused(u64),
    }
    use Came::{Differs, Paused, Right};

    fn start(dir: &Path) -> Guesses {
        let kept = Arc::new(KeptPins::open(&dir.join("refused-pins")));
        Guesses::new(Some(PinOf::new(&kept, Role::User, "t")), Arc::default())
    }

    /// `caller` gives `text`, so many seconds after the machine has started.
    fn give(guesses: &Guesses, second: u64, caller: Caller, text: &str) -> Came {
        let pin = |text: &str| Pin::new(text.into()).unwrap();
        let given = GivenPin {
            pin: &pin(text),
            by: Giver::Caller(caller),
        };
        let now = Duration::from_secs(second);
        let came = match guesses.compare_at(now, given, &pin(RIGHT), &Uri::default()) {
            Ok(()) => Right,
            Err(Error::PinDiffers(_)) => Differs,
            Err(Error::PinPaused { pause, .. }) => Paused(pause.as_secs()),
            Err(other) => panic!("{other}"),
        };
        guesses.settle(&Uri::default());
        assert_eq!(guesses.unsettled.load(SeqCst), 0);
        came
    }

    #[test]
    fn who_guesses_waits_ever_longer() {
        let guesses = Guesses::default();
        for (second, caller, pin, came) in [
            (0, GUESSER, "1", Differs),
            // A wrong PIN in the settings, of which each of two mappers sends it with each request.
            (0, GUESSER, "1", Differs),
            (1, GUESSER, "1", Differs),
            (2, GUESSER, RIGHT, Right),
            (3, GUESSER, "2", Differs),
            // From now on, neither right nor wrong ones are told from each other.
            (3, GUESSER, "3", Paused(4)),
            (4, GUESSER, RIGHT, Paused(4)),
            (5, GUESSER, "1", Paused(4)),
            (5, OTHER, RIGHT, Right),
            (5, OTHER, "1", Differs),
            (7, GUESSER, RIGHT, Right),
            (7, GUESSER, "1", Differs),
            (7, GUESSER, "3", Differs),
            (14, GUESSER, RIGHT, Paused(8)),
            (15, GUESSER, "4", Differs),
            (30, GUESSER, RIGHT, Paused(16)),
            (31, GUESSER, RIGHT, Right),
        ] {
            assert_eq!(
                give(&guesses, second, caller, pin),
                came,
                "{second} {caller} {pin}"
            );
        }
    }

    /// However he goes about it, a caller has few guesses: here, it tries each second, for three days.
    #[test]
    fn a_day_has_few_guesses() {
        let guesses = Guesses::default();
        let mut compared = Vec::new();
        for day in 0..3 {
            let seconds = (day * 86_400..(day + 1) * 86_400).step_by(4);
            let guess = |second: &u64| give(&guesses, *second, GUESSER, &second.to_string());
            compared.push(seconds.filter(|second| guess(second) == Differs).count());
        }
        assert_eq!(compared, [34, 24, 24]);
    }

    #[test]
    fn the_operator_does_not_guess() {
        let guesses = Guesses::default();
        for wrong in ["1", "2", "3", "4"] {
            let pin = Pin::new(wrong.into()).unwrap();
            let right = Pin::new(RIGHT.into()).unwrap();
            let given = GivenPin::by_operator(&pin);
            let result = guesses.compare(given, &right, &Uri::default());
            assert!(matches!(result, Err(Error::PinDiffers(_))), "{result:?}");
        }
    }

    #[test]
    fn a_restart_ends_no_pause() {
        let dir = tempfile::tempdir().unwrap();
        let start = || start(dir.path());
        // The signer's own clock, since the file is read by it.
        let now = uptime().as_secs();
        let give_anew = |pin: &str| give(&start(), now, GUESSER, pin);
        assert_eq!(give_anew("1"), Differs);
        // Known again, by its trace.
        for _ in 0..3 {
            assert_eq!(give_anew("1"), Differs);
        }
        assert_eq!(give_anew("2"), Differs);
        assert_eq!(give_anew(RIGHT), Paused(4));
        assert_eq!(give_anew("3"), Paused(4));
        let other = give(&start(), now, OTHER, RIGHT);
        assert_eq!(other, Right);
        assert_eq!(start().has_been_right(OTHER), Some(true));
        assert_eq!(start().has_been_right(GUESSER), Some(false));
        let text = std::fs::read_to_string(dir.path().join("refused-pins")).unwrap();
        assert!(!text.contains(RIGHT) && text.contains("2002"), "{text}");
    }

    /// Somebody may have sent the new PIN before it was set.
    #[test]
    fn nothing_is_kept_of_a_pin_that_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let text = || std::fs::read_to_string(dir.path().join("refused-pins")).unwrap();
        let guesses = start(dir.path());
        give(&guesses, 0, GUESSER, "new");
        let kept = text();
        for guesses in [guesses, start(dir.path())] {
            give(&guesses, 0, OTHER, "other");
            guesses.forget(&Pin::new("new".into()).unwrap());
            guesses.settle(&Uri::default());
            let trace = kept.trim_end().rsplit(' ').next().unwrap();
            assert!(!text().contains(trace), "{}", text());
        }
    }

    /// Those beyond the last account share one, and nobody's is taken from it.
    #[test]
    fn many_callers_forget_nobody() {
        let guesses = Guesses::default();
        for wrong in ["1", "2"] {
            give(&guesses, 0, GUESSER, wrong);
        }
        for uid in 10_000..12_000 {
            give(&guesses, 0, Caller::User(uid), "1");
        }
        assert_eq!(give(&guesses, 0, GUESSER, RIGHT), Paused(4));
        assert!(lock(&guesses.state).guessers.len() <= MAX_CALLERS + 1);
        for wrong in ["2", "3", "4"] {
            give(&guesses, 0, Caller::User(20_000), wrong);
        }
        let last = give(&guesses, 0, Caller::User(20_001), RIGHT);
        assert!(matches!(last, Paused(_)), "{last:?}");
    }
}
