//! Sparing the tries of a PIN: three wrong ones lock many tokens, a TPM for all its users.

use std::time::Duration;

use tedge_p11_protocol::{Pin, Uri};

use super::given::{Caller, GivenPin, Giver};
use super::kept::{PAUSE, PinOf};
use super::kept_text::{Trace, Try};
use crate::error::{Error, Result};
use crate::uptime::uptime;

/// What is known of a PIN from the tries made so far. Outlives logins and sessions, and, but for the right
/// PIN, the process.
#[derive(Debug, Default)]
pub(super) struct PinTries {
    /// The last one that was right.
    known: Option<Pin>,
    /// Those that were wrong since, the latest last.
    refused: Vec<Refused>,
    /// Where they are kept.
    kept: Option<PinOf>,
}

/// When a token locks itself, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// However many PINs are wrong.
    Never,
    /// After some wrong PINs; three, perhaps.
    Sometime,
    /// With the next one: it says that one try is left.
    NextTry,
}

#[derive(Debug)]
struct Refused {
    pin: Which,
    by: Giver,
    /// Since the machine started.
    at: Duration,
    /// Not if a PIN was right since.
    counts: bool,
}

#[derive(Debug)]
enum Which {
    This(Pin),
    /// Of an earlier process.
    Of(Trace),
}

impl PinTries {
    pub(super) fn new(kept: Option<PinOf>) -> Self {
        let earlier = kept.as_ref().map(PinOf::refused).unwrap_or_default();
        let refused = |earlier: Try| Refused {
            pin: Which::Of(earlier.trace),
            by: earlier.by,
            at: earlier.at,
            counts: earlier.counts,
        };
        Self {
            known: None,
            refused: earlier.into_iter().map(refused).collect(),
            kept,
        }
    }

    /// Whether the token may be asked about `given`. `has_been_right` tells of a caller whether it has ever given
    /// the right PIN, or none if no caller has.
    pub(super) fn allow(
        &mut self,
        given: GivenPin<'_>,
        lock: Lock,
        has_been_right: impl Fn(Caller) -> Option<bool>,
        token: &Uri,
    ) -> Result<()> {
        self.allow_at(uptime(), given, lock, has_been_right, token)
    }

    fn allow_at(
        &mut self,
        now: Duration,
        given: GivenPin<'_>,
        lock: Lock,
        has_been_right: impl Fn(Caller) -> Option<bool>,
        token: &Uri,
    ) -> Result<()> {
        let GivenPin { pin, by } = given;
        if self.known.as_ref() == Some(pin) {
            return Ok(());
        }
        // However long ago: many tokens never forget a wrong try, and a configured PIN that is wrong
        // comes with every request.
        let is_this = |refused: &Refused| matches!(&refused.pin, Which::This(own) if own == pin);
        if self.refused.iter().any(is_this) {
            return Err(Error::PinRefusedBefore(token.clone()));
        }
        match lock {
            Lock::Never => {}
            Lock::NextTry => return Err(Error::PinFinalTry(token.clone())),
            Lock::Sometime => self.has_a_try_left(now, by, has_been_right, token)?,
        }
        // Last, because it takes a while.
        if self.was_refused_earlier(pin) {
            return Err(Error::PinRefusedBefore(token.clone()));
        }
        Ok(())
    }

    /// Whether `giver` has one of the two tries of this hour. A caller has one of them at most, so that nobody uses
    /// up those of all others. Once some callers have given the right PIN, one try is for them: of those who never
    /// did, however many there are, one wrong PIN an hour reaches the token.
    fn has_a_try_left(
        &self,
        now: Duration,
        giver: Giver,
        has_been_right: impl Fn(Caller) -> Option<bool>,
        token: &Uri,
    ) -> Result<()> {
        let lately = |refused: &&Refused| refused.counts && now.saturating_sub(refused.at) < PAUSE;
        let lately: Vec<_> = self.refused.iter().filter(lately).collect();
        let mut most = MAX_REFUSED;
        if let Giver::Caller(caller) = giver {
            if !caller.is_root() {
                if lately.iter().any(|refused| refused.by == giver) {
                    return Err(Error::PinTrySpent(token.clone()));
                }
                if has_been_right(caller) == Some(false) {
                    most -= 1;
                }
            }
        }
        if lately.len() >= most {
            return Err(Error::PinTriesSpared(token.clone()));
        }
        Ok(())
    }

    /// Whether an earlier process saw `pin` refused; the next time it takes no while.
    fn was_refused_earlier(&mut self, pin: &Pin) -> bool {
        let is_earlier = |refused: &Refused| matches!(refused.pin, Which::Of(_));
        let Some(kept) = self
            .kept
            .as_ref()
            .filter(|_| self.refused.iter().any(is_earlier))
        else {
            return false;
        };
        let trace = kept.trace(pin);
        let mut refused = self.refused.iter_mut();
        let found = refused.find(|refused| matches!(refused.pin, Which::Of(own) if own == trace));
        found.is_some_and(|refused| {
            refused.pin = Which::This(pin.clone());
            true
        })
    }

    /// The token took `pin`. Tells whether it was not known to be right.
    pub(super) fn accepted(&mut self, pin: &Pin) -> bool {
        let was_known = self.known.as_ref() == Some(pin);
        if was_known && self.refused.is_empty() {
            return false;
        }
        self.known = Some(pin.clone());
        self.refused.clear();
        if let Some(kept) = &self.kept {
            kept.forgive(pin);
        }
        !was_known
    }

    pub(super) fn refused(&mut self, given: GivenPin<'_>) {
        let GivenPin { pin, by } = given;
        if self.known.as_ref() == Some(pin) {
            self.known = None;
        }
        if self.refused.len() >= MAX_REMEMBERED {
            // Not another giver's, if this one has any.
            let own = self.refused.iter().position(|refused| refused.by == by);
            self.refused.remove(own.unwrap_or_default());
        }
        let at = uptime();
        self.refused.push(Refused {
            pin: Which::This(pin.clone()),
            by,
            at,
            counts: true,
        });
        if let Some(kept) = &self.kept {
            kept.keep_refused(pin, at, by);
        }
    }

    /// The PIN that was right when it was last tried.
    pub(super) fn known(&self) -> Option<&Pin> {
        self.known.as_ref()
    }
}

/// Wrong PINs of an hour that reach a token; the least that lock one are three.
const MAX_REFUSED: usize = 2;
/// Wrong PINs that are not tried again: two an hour for a month.
const MAX_REMEMBERED: usize = 1500;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::kept::KeptPins;
    use super::super::kept_text::Role;
    use super::*;

    const ROOT: Giver = Giver::Caller(Caller::User(0));

    fn pin(text: &str) -> Pin {
        Pin::new(text.into()).unwrap()
    }

    fn refuse(tries: &mut PinTries, by: Giver, text: &str) {
        let pin = &pin(text);
        tries.refused(GivenPin { pin, by });
    }

    fn allow(tries: &mut PinTries, lock: Lock, text: &str) -> Result<()> {
        let pin = &pin(text);
        let given = GivenPin { pin, by: ROOT };
        tries.allow(given, lock, |_| None, &Uri::default())
    }

    fn after(tries: &mut PinTries, hours: u32, text: &str) -> Result<()> {
        let now = uptime() + hours * PAUSE;
        let pin = &pin(text);
        let given = GivenPin { pin, by: ROOT };
        tries.allow_at(now, given, Lock::Sometime, |_| None, &Uri::default())
    }

    #[test]
    fn two_wrong_pins_are_the_most() {
        let mut tries = PinTries::default();
        for wrong in ["1", "2"] {
            allow(&mut tries, Lock::Sometime, wrong).unwrap();
            refuse(&mut tries, ROOT, wrong);
        }
        let mut after = |hours, text| after(&mut tries, hours, text);
        assert!(matches!(after(0, "1"), Err(Error::PinRefusedBefore(_))));
        assert!(matches!(after(0, "3"), Err(Error::PinTriesSpared(_))));
        // Later another one may be tried, but not one that was wrong.
        assert!(after(1, "3").is_ok());
        assert!(matches!(after(1, "1"), Err(Error::PinRefusedBefore(_))));
        tries.accepted(&pin("4"));
        allow(&mut tries, Lock::NextTry, "4").unwrap();
        allow(&mut tries, Lock::Sometime, "1").unwrap();
        assert!(matches!(
            allow(&mut tries, Lock::NextTry, "1"),
            Err(Error::PinFinalTry(_))
        ));
    }

    #[test]
    fn a_token_that_never_locks_itself_is_not_spared() {
        let mut tries = PinTries::default();
        for wrong in ["1", "2", "3", "4"] {
            allow(&mut tries, Lock::Never, wrong).unwrap();
            refuse(&mut tries, ROOT, wrong);
        }
        let again = allow(&mut tries, Lock::Never, "1");
        assert!(matches!(again, Err(Error::PinRefusedBefore(_))));
        let other = allow(&mut tries, Lock::Sometime, "5");
        assert!(matches!(other, Err(Error::PinTriesSpared(_))));
    }

    /// Who gave wrong PINs in this hour, who was right before, and who is allowed another one.
    #[test]
    fn no_caller_uses_up_the_tries_of_another() {
        let [a, b, c] = [1, 2, 3].map(Caller::User);
        let root = Caller::User(0);
        let none = &[][..];
        for (wrong, right, who, allowed) in [
            (&[][..], none, a, true),
            // One of the two is the most that one caller has.
            (&[a], none, a, false),
            (&[a], none, b, true),
            (&[a, b], none, c, false),
            // Of those who never were right, one has one.
            (&[a], &[b], c, false),
            (&[a], &[b], b, true),
            (&[], &[b], a, true),
            (&[b], &[b], b, false),
            (&[a, b], &[b, c], c, false),
            // Uids are cheap: those without a user share one account.
            (&[Caller::Nameless], none, Caller::Nameless, false),
            (&[Caller::Nameless], none, a, true),
            // Root has both, if there are any.
            (&[root], none, root, true),
            (&[a], none, root, true),
            (&[a, b], none, root, false),
        ] {
            let mut tries = PinTries::default();
            for (number, caller) in wrong.iter().enumerate() {
                refuse(&mut tries, Giver::Caller(*caller), &number.to_string());
            }
            let pin = &pin("other");
            let by = Giver::Caller(who);
            let has_been_right = |who| (!right.is_empty()).then(|| right.contains(&who));
            let result = tries.allow(
                GivenPin { pin, by },
                Lock::Sometime,
                has_been_right,
                &Uri::default(),
            );
            assert_eq!(result.is_ok(), allowed, "{wrong:?} {right:?} {who}");
        }
    }

    #[test]
    fn a_restart_brings_no_new_tries() {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let kept = KeptPins::open(&dir.path().join("refused-pins"));
            PinTries::new(Some(PinOf::new(&Arc::new(kept), Role::User, "t")))
        };
        for wrong in ["1", "2"] {
            let mut tries = start();
            after(&mut tries, 0, wrong).unwrap();
            refuse(&mut tries, ROOT, wrong);
            let again = after(&mut start(), 0, wrong);
            assert!(again.is_err(), "{wrong}");
        }
        let mut tries = start();
        assert!(matches!(
            after(&mut tries, 0, "3"),
            Err(Error::PinTriesSpared(_))
        ));
        for _ in 0..2 {
            let again = after(&mut tries, 1, "2");
            assert!(
                matches!(again, Err(Error::PinRefusedBefore(_))),
                "{again:?}"
            );
        }
        after(&mut tries, 1, "3").unwrap();
        tries.accepted(&pin("3"));
        // The right one takes no count of those before it, which are as wrong as they were.
        let mut tries = start();
        after(&mut tries, 0, "4").unwrap();
        let again = after(&mut tries, 0, "1");
        assert!(
            matches!(again, Err(Error::PinRefusedBefore(_))),
            "{again:?}"
        );
        // Until the PIN is changed to one of them.
        tries.accepted(&pin("3"));
        tries.accepted(&pin("2"));
        after(&mut start(), 0, "2").unwrap();
    }
}
