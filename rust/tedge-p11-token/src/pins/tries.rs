//! Sparing the tries of a PIN: three wrong ones lock many tokens, a TPM for all its users.

use std::time::Duration;

use tedge_p11_protocol::{Pin, Uri};

use super::refused::{PAUSE, PinOf, Trace, Try};
use crate::error::{Error, Result};
use crate::uptime::uptime;

/// What is known of a PIN from the tries made so far. Outlives logins and sessions, and, but for the right
/// PIN, the process.
#[derive(Debug, Default)]
pub(crate) struct PinTries {
    /// The last one that was right.
    known: Option<Pin>,
    /// Those that were wrong since, the latest last.
    refused: Vec<Refused>,
    /// Where they are kept.
    kept: Option<PinOf>,
}

#[derive(Debug)]
struct Refused {
    pin: Which,
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
        let refused = |Try { trace, at, counts }| Refused {
            pin: Which::Of(trace),
            at,
            counts,
        };
        Self {
            known: None,
            refused: earlier.into_iter().map(refused).collect(),
            kept,
        }
    }

    /// Whether `pin` may be tried. `final_try` is what the token says of the tries left.
    pub(crate) fn allow(&mut self, pin: &Pin, final_try: bool, token: &Uri) -> Result<()> {
        self.allow_at(uptime(), pin, final_try, token)
    }

    fn allow_at(&mut self, now: Duration, pin: &Pin, final_try: bool, token: &Uri) -> Result<()> {
        if self.known.as_ref() == Some(pin) {
            return Ok(());
        }
        // However long ago: many tokens never forget a wrong try, and a configured PIN that is wrong
        // comes with every request.
        let is_this = |refused: &Refused| matches!(&refused.pin, Which::This(own) if own == pin);
        if self.refused.iter().any(is_this) {
            return Err(Error::PinRefusedBefore(token.clone()));
        }
        if final_try {
            return Err(Error::PinFinalTry(token.clone()));
        }
        let lately = |refused: &&Refused| refused.counts && now.saturating_sub(refused.at) < PAUSE;
        if self.refused.iter().filter(lately).count() >= MAX_REFUSED {
            return Err(Error::PinTriesSpared(token.clone()));
        }
        // Last, because it takes a while.
        if self.was_refused_earlier(pin) {
            return Err(Error::PinRefusedBefore(token.clone()));
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

    pub(crate) fn accepted(&mut self, pin: &Pin) {
        if self.known.as_ref() == Some(pin) && self.refused.is_empty() {
            return;
        }
        self.known = Some(pin.clone());
        self.refused.clear();
        if let Some(kept) = &self.kept {
            kept.forgive(pin);
        }
    }

    pub(crate) fn refused(&mut self, pin: &Pin) {
        if self.known.as_ref() == Some(pin) {
            self.known = None;
        }
        if self.refused.len() >= MAX_REMEMBERED {
            self.refused.remove(0);
        }
        let at = uptime();
        self.refused.push(Refused {
            pin: Which::This(pin.clone()),
            at,
            counts: true,
        });
        if let Some(kept) = &self.kept {
            kept.keep(pin, at);
        }
    }

    /// The PIN that was right when it was last tried.
    pub(crate) fn known(&self) -> Option<&Pin> {
        self.known.as_ref()
    }
}

/// Wrong PINs that are tried before others have to wait; the least that tokens allow is three.
const MAX_REFUSED: usize = 2;
/// Wrong PINs that are not tried again: two an hour for a month.
const MAX_REMEMBERED: usize = 1500;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::refused::{RefusedPins, Role};
    use super::*;

    fn pin(text: &str) -> Pin {
        Pin::new(text.into()).unwrap()
    }

    fn after(tries: &mut PinTries, hours: u32, text: &str) -> Result<()> {
        let now = uptime() + hours * PAUSE;
        tries.allow_at(now, &pin(text), false, &Uri::default())
    }

    #[test]
    fn two_wrong_pins_are_the_most() {
        let token = Uri::default();
        let mut tries = PinTries::default();
        for wrong in ["1", "2"] {
            tries.allow(&pin(wrong), false, &token).unwrap();
            tries.refused(&pin(wrong));
        }
        let mut after = |hours, text| after(&mut tries, hours, text);
        assert!(matches!(after(0, "1"), Err(Error::PinRefusedBefore(_))));
        assert!(matches!(after(0, "3"), Err(Error::PinTriesSpared(_))));
        // Later another one may be tried, but not one that was wrong.
        assert!(after(1, "3").is_ok());
        assert!(matches!(after(1, "1"), Err(Error::PinRefusedBefore(_))));
        tries.accepted(&pin("4"));
        assert!(tries.allow(&pin("4"), true, &token).is_ok());
        assert!(tries.allow(&pin("1"), false, &token).is_ok());
        assert!(matches!(
            tries.allow(&pin("1"), true, &token),
            Err(Error::PinFinalTry(_))
        ));
    }

    #[test]
    fn a_restart_brings_no_new_tries() {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let kept = RefusedPins::open(&dir.path().join("refused-pins"));
            PinTries::new(Some(PinOf::new(&Arc::new(kept), Role::User, "t")))
        };
        for wrong in ["1", "2"] {
            let mut tries = start();
            after(&mut tries, 0, wrong).unwrap();
            tries.refused(&pin(wrong));
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
