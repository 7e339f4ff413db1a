//! Sparing the tries of a PIN: three wrong ones lock many tokens, a TPM for all its users.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tedge_p11_protocol::{Pin, Uri};

use crate::error::{Error, Result};

/// The PINs of one token, whatever slot it is in.
#[derive(Debug, Default)]
pub(crate) struct TokenPins {
    pub(crate) user: Mutex<PinTries>,
    pub(crate) so: Mutex<PinTries>,
}

/// What is known of a PIN from the tries made so far. Outlives logins and sessions.
#[derive(Debug, Default)]
pub(crate) struct PinTries {
    /// The last one that was right.
    known: Option<Pin>,
    /// Those that were wrong since, the latest last.
    refused: Vec<(Pin, Instant)>,
}

impl PinTries {
    /// Whether `pin` may be tried. `final_try` is what the token says of the tries left.
    pub(crate) fn allow(&self, pin: &Pin, final_try: bool, token: &Uri) -> Result<()> {
        self.allow_at(Instant::now(), pin, final_try, token)
    }

    fn allow_at(&self, now: Instant, pin: &Pin, final_try: bool, token: &Uri) -> Result<()> {
        if self.known.as_ref() == Some(pin) {
            return Ok(());
        }
        // However long ago: many tokens never forget a wrong try, and a configured PIN that is wrong
        // comes with every request.
        if self.refused.iter().any(|(refused, _)| refused == pin) {
            return Err(Error::PinRefusedBefore(token.clone()));
        }
        if final_try {
            return Err(Error::PinFinalTry(token.clone()));
        }
        let lately = |(_, at): &&(Pin, Instant)| now.saturating_duration_since(*at) < PAUSE;
        if self.refused.iter().filter(lately).count() >= MAX_REFUSED {
            return Err(Error::PinTriesSpared(token.clone()));
        }
        Ok(())
    }

    pub(crate) fn accepted(&mut self, pin: &Pin) {
        *self = Self {
            known: Some(pin.clone()),
            ..Self::default()
        };
    }

    pub(crate) fn refused(&mut self, pin: &Pin) {
        if self.known.as_ref() == Some(pin) {
            self.known = None;
        }
        if self.refused.len() >= MAX_REMEMBERED {
            self.refused.remove(0);
        }
        self.refused.push((pin.clone(), Instant::now()));
    }

    /// The PIN that was right when it was last tried.
    pub(crate) fn known(&self) -> Option<&Pin> {
        self.known.as_ref()
    }
}

/// Wrong PINs that are tried before others have to wait; the least that tokens allow is three.
const MAX_REFUSED: usize = 2;
/// Until further PINs are tried. A TPM forgets a wrong one after 17 minutes by default.
const PAUSE: Duration = Duration::from_secs(3600);
/// Wrong PINs that are not tried again: two an hour for a month.
const MAX_REMEMBERED: usize = 1500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wrong_pins_are_the_most() {
        let pin = |text: &str| Pin::new(text.into()).unwrap();
        let token = Uri::default();
        let mut tries = PinTries::default();
        for wrong in ["1", "2"] {
            tries.allow(&pin(wrong), false, &token).unwrap();
            tries.refused(&pin(wrong));
        }
        let after = |hours, text| {
            let now = Instant::now() + hours * PAUSE;
            tries.allow_at(now, &pin(text), false, &token)
        };
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
}
