//! Sparing the tries of a PIN: three wrong ones lock many tokens, a TPM for all its users.

use std::time::{Duration, Instant};

use tedge_p11_protocol::{Pin, Uri};

use crate::error::{Error, Result};

/// What is known of a PIN from the tries made so far. Outlives logins and sessions.
#[derive(Debug, Default)]
pub(crate) struct PinTries {
    /// The last one that was right.
    known: Option<Pin>,
    /// Those that were wrong since.
    refused: Vec<Pin>,
    last_refusal: Option<Instant>,
}

impl PinTries {
    /// Whether `pin` may be tried. `final_try` is what the token says of the tries left.
    pub(crate) fn allow(&mut self, pin: &Pin, final_try: bool, token: &Uri) -> Result<()> {
        if self.known.as_ref() == Some(pin) {
            return Ok(());
        }
        if self.last_refusal.is_some_and(|at| at.elapsed() > PAUSE) {
            self.refused.clear();
            self.last_refusal = None;
        }
        if self.refused.contains(pin) {
            return Err(Error::PinRefusedBefore(token.clone()));
        }
        if final_try {
            return Err(Error::PinFinalTry(token.clone()));
        }
        if self.refused.len() >= MAX_REFUSED {
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
        self.refused.push(pin.clone());
        self.last_refusal = Some(Instant::now());
    }

    /// The PIN that was right when it was last tried.
    pub(crate) fn known(&self) -> Option<&Pin> {
        self.known.as_ref()
    }
}

/// Wrong PINs that are tried before others have to wait; the least that tokens allow is three.
const MAX_REFUSED: usize = 2;
/// Until wrong PINs are tried again. A TPM forgets a wrong one after 17 minutes by default.
const PAUSE: Duration = Duration::from_secs(3600);

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
        let allow = |tries: &mut PinTries, text: &str| tries.allow(&pin(text), false, &token);
        assert!(matches!(
            allow(&mut tries, "1"),
            Err(Error::PinRefusedBefore(_))
        ));
        assert!(matches!(
            allow(&mut tries, "3"),
            Err(Error::PinTriesSpared(_))
        ));
        tries.accepted(&pin("4"));
        assert!(tries.allow(&pin("4"), true, &token).is_ok());
        assert!(tries.allow(&pin("1"), false, &token).is_ok());
        assert!(matches!(
            tries.allow(&pin("1"), true, &token),
            Err(Error::PinFinalTry(_))
        ));
    }
}
