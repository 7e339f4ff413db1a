//! Logins of a token's user and security officer, and their PINs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo as TokenFlags;
use tedge_p11_protocol::Pin;

use super::Token;
use super::open::{Open, is_logged_in, keep, reset};
use crate::error::{Error, Result, TriesLeft};
use crate::lock::lock;
use crate::pins::security_officer::{as_security_officer, tries_left};
use crate::pins::{GivenPin, Lock, TokenPins, auth_pin};

impl Token {
    /// Runs `begin`, which initialises the use of a key with CKA_ALWAYS_AUTHENTICATE, logs in once more for
    /// that use alone, and runs `end` (PKCS#11 3.0, section 4.9). Nobody else uses the token meanwhile: a PIV
    /// card wants nothing between the PIN and the signature.
    pub(crate) fn with_login_for_use<T>(
        &self,
        pin: Option<GivenPin<'_>>,
        generation: u64,
        begin: impl FnOnce(&Session) -> Result<()>,
        end: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let mut open = self.seize_soon()?;
        if open.generation != generation {
            return Err(Error::Outdated);
        }
        let session = self.logged_in(&mut open, pin)?;
        let result = self.pin_for_use(&session, pin).and_then(|pin| {
            begin(&session)?;
            self.counted_login(&session, UserType::ContextSpecific, pin)?;
            end(&session)
        });
        if let Err(Error::PinIncorrect { .. } | Error::PinLocked(_)) = result {
            // What the token was opened with is not its PIN any more: let in who knows the new one, before
            // those who wait here have this one tried again. A use has begun in the session.
            lock(&open.spent).push(session);
            reset(&mut open);
        } else {
            keep(&open, session, &result);
        }
        drop(open);
        self.reset_if_stale(generation, result)
    }

    /// What to log in with for one use of a key, if that may be tried.
    fn pin_for_use<'a>(
        &self,
        session: &Session,
        pin: Option<GivenPin<'a>>,
    ) -> Result<Option<GivenPin<'a>>> {
        let info = self.info();
        let Some(pin) = pin.filter(|_| !info.protected_authentication_path) else {
            return Ok(None); // the reader asks for it
        };
        if info.login_required {
            // It is the one that the token was opened with.
            self.allow(pin)?;
        } else {
            self.allow_after_known(pin, |known| {
                self.counted_login(session, UserType::User, Some(known))?;
                // Others use the token without a login.
                let _ = session.logout();
                Ok(())
            })?;
        }
        Ok(Some(pin))
    }

    /// Changes the user PIN from `old` to `new`.
    pub(crate) fn set_pin(&self, old: GivenPin<'_>, new: &Pin) -> Result<()> {
        let mut open = self.seize_soon()?;
        self.log_in(&mut open, Some(old))?;
        // The login may have been long ago, or the token may ask for none.
        self.allow(old)?;
        let session = self.open_rw()?;
        let result = session
            .set_pin(&auth_pin(old.pin), &auth_pin(new))
            .map_err(|error| self.pin_error(error).final_word());
        match &result {
            Ok(()) => self.pins().user.accepted(GivenPin { pin: new, ..old }),
            Err(Error::PinIncorrect { .. }) => self.pins().user.refused(old),
            Err(_) => {}
        }
        drop(session);
        // Some tokens count a change of the PIN as a logout; and a wrong one opens nothing any more.
        reset(&mut open);
        result
    }

    /// Has the security officer set the user PIN to `new`.
    pub(crate) fn reset_pin(&self, so_pin: GivenPin<'_>, new: &Pin) -> Result<()> {
        self.as_security_officer(so_pin, |session| {
            session.init_pin(&auth_pin(new))?;
            self.pins().user.accepted(GivenPin { pin: new, ..so_pin });
            Ok(())
        })
    }

    /// Changes the security officer's PIN from `old` to `new`.
    pub(crate) fn set_so_pin(&self, old: GivenPin<'_>, new: &Pin) -> Result<()> {
        self.as_security_officer(old, |session| {
            session.set_pin(&auth_pin(old.pin), &auth_pin(new))?;
            self.pins().so.accepted(GivenPin { pin: new, ..old });
            Ok(())
        })
    }

    /// All sessions are closed before: a user and the security officer can't be logged in together.
    fn as_security_officer(
        &self,
        so_pin: GivenPin<'_>,
        operation: impl FnOnce(&Session) -> cryptoki::error::Result<()>,
    ) -> Result<()> {
        let mut open = self.seize_soon()?;
        let uri = self.uri();
        let pins = self.pins();
        pins.so
            .allow(so_pin, self.lock_state(TokenFlags::so_pin_final_try))?;
        reset(&mut open);
        let logged_in = |session: &Session| {
            pins.so.accepted(so_pin);
            operation(session)
        };
        let result = as_security_officer(&self.pkcs11, self.slot, &uri, so_pin.pin, logged_in);
        if let Err(Error::SoPinIncorrect { .. }) = &result {
            pins.so.refused(so_pin);
        }
        result
    }

    /// Whether the token is open for who brings `pin`. Who does not know the PIN that opened it must
    /// not profit from another client's login.
    pub(super) fn is_open(&self, open: &Open, pin: Option<GivenPin<'_>>) -> Result<bool> {
        if !self.needs_pin() {
            return Ok(open.anchor.is_some());
        }
        let pin = pin.ok_or_else(|| Error::PinNeeded(self.uri()))?;
        match &open.pin {
            Some(opened_with) => self.pins().user.compare(pin, opened_with)?,
            None => self.pins().user.admit(pin)?,
        }
        Ok(open.anchor.is_some())
    }

    /// Logs in if the token asks for it and nobody has.
    pub(super) fn log_in(&self, open: &mut Open, pin: Option<GivenPin<'_>>) -> Result<()> {
        if self.is_open(open, pin)? {
            return Ok(());
        }
        {
            let trouble = lock(&self.trouble);
            let left = trouble.back_off.left();
            if let Some(error) = trouble.error.clone().filter(|_| !left.is_zero()) {
                return Err(Error::Failing { error, left });
            }
        }
        let result = self.log_in_now(open, pin);
        if let Some(error) = result.as_ref().err().and_then(Error::stale) {
            self.note_trouble(error);
        }
        result
    }

    fn log_in_now(&self, open: &mut Open, pin: Option<GivenPin<'_>>) -> Result<()> {
        let Some(pin) = pin.filter(|_| self.needs_pin()) else {
            return self.open_with(open, None);
        };
        self.allow_after_known(pin, |known| self.open_with(open, Some(known)))?;
        self.open_with(open, Some(pin))
    }

    /// Says whether the token may be asked about `pin`, as [`allow`](Self::allow) does, but asks the token about
    /// a better PIN first: the last PIN that was right, or the configured PIN as long as none was right yet.
    /// `log_in` is called with that better PIN. If the token takes it, `pin` is wrong: that counts as a guess, and
    /// the token is not asked about it. So a client that guesses wins no new tries by the right PINs of other
    /// clients, and its guess is not the first PIN that the token gets after a start.
    fn allow_after_known(
        &self,
        pin: GivenPin<'_>,
        log_in: impl FnOnce(GivenPin<'_>) -> Result<()>,
    ) -> Result<()> {
        let pins = self.pins();
        pins.user.admit(pin)?;
        let right = pins.user.known().or_else(|| self.configured_pin());
        if let Some(right) = right.filter(|right| right != pin.pin) {
            match log_in(GivenPin::by_operator(&right)) {
                Ok(()) => return pins.user.compare(pin, &right),
                Err(Error::PinIncorrect { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.allow(pin)
    }

    /// The configured PIN, if it may be tried here.
    fn configured_pin(&self) -> Option<Pin> {
        let pins = self.pins();
        let is_only = pins.is_only.load(Relaxed);
        let pin = pins.configured.of(&self.info(), is_only)?;
        self.allow(GivenPin::by_operator(&pin))
            .is_ok()
            .then_some(pin)
    }

    /// Says whether the token may be asked about `pin`: not if it refused this PIN before, nor if one try is left,
    /// nor if too many PINs were wrong lately. The token's flags are read only if `pin` is not the last PIN that
    /// was right.
    fn allow(&self, pin: GivenPin<'_>) -> Result<()> {
        let pins = self.pins();
        let known = pins.user.known().is_some_and(|known| known == *pin.pin);
        let lock_state = if known {
            Lock::Sometime
        } else {
            self.lock_state(TokenFlags::user_pin_final_try)
        };
        pins.user.allow(pin, lock_state)
    }

    fn open_with(&self, open: &mut Open, pin: Option<GivenPin<'_>>) -> Result<()> {
        let session = self.open_ro()?;
        if self.info().login_required {
            self.counted_login(&session, UserType::User, pin)?;
            open.logged_in = match is_logged_in(&session).map_err(|error| self.error(error)) {
                // Lost again already.
                Err(error) if error.is_stale() => return Err(error),
                // A module that does not tell, or tells wrong, is taken at its C_Login's word.
                known => known.unwrap_or(false),
            };
        }
        open.pin = pin.map(|pin| pin.pin.clone());
        open.anchor = Some(Mutex::new(session));
        Ok(())
    }

    pub(super) fn counted_login(
        &self,
        session: &Session,
        user: UserType,
        pin: Option<GivenPin<'_>>,
    ) -> Result<()> {
        let result = self.user_login(session, user, pin.map(|pin| pin.pin));
        if let Some(pin) = pin {
            match &result {
                Ok(()) => self.pins().user.accepted(pin),
                Err(Error::PinIncorrect { .. }) => self.pins().user.refused(pin),
                Err(_) => {}
            }
        }
        result
    }

    fn user_login(&self, session: &Session, user: UserType, pin: Option<&Pin>) -> Result<()> {
        let auth = pin.map(auth_pin);
        let attempt = || session.login(user, auth.as_ref());
        let mut result = attempt();
        if let (UserType::User, Err(CryptokiError::Pkcs11(RvError::UserAlreadyLoggedIn, _))) =
            (user, &result)
        {
            // Left over from sessions that could not be closed. Only a login of our own tells
            // whether this PIN is right.
            result = session.logout().and_then(|()| attempt());
        }
        result.map_err(|error| self.pin_error(error))
    }

    /// What C_Login and C_SetPIN say of the user PIN. Of the new one, C_SetPIN says CKR_PIN_INVALID.
    fn pin_error(&self, error: CryptokiError) -> Error {
        match error {
            CryptokiError::Pkcs11(RvError::PinIncorrect, _)
            | CryptokiError::Pkcs11(RvError::PinInvalid, Function::Login) => Error::PinIncorrect {
                token: self.uri(),
                flags: self.tries_left(),
            },
            CryptokiError::Pkcs11(RvError::PinLocked, _) => Error::PinLocked(self.uri()),
            other => self.error(other),
        }
    }

    fn tries_left(&self) -> TriesLeft {
        tries_left(&self.pkcs11, self.slot, |info| TriesLeft {
            count_low: info.user_pin_count_low(),
            final_try: info.user_pin_final_try(),
            locked: info.user_pin_locked(),
        })
    }

    /// When the token locks itself. `final_try` reads the flag that says that one try is left.
    fn lock_state(&self, final_try: fn(&TokenFlags) -> bool) -> Lock {
        if self.quirks.never_locks() {
            return Lock::Never;
        }
        match self.pkcs11.get_token_info(self.slot) {
            Ok(info) if final_try(&info) => Lock::NextTry,
            _ => Lock::Sometime,
        }
    }

    fn pins(&self) -> Arc<TokenPins> {
        lock(&self.pins).clone()
    }

    pub(super) fn needs_pin(&self) -> bool {
        let info = self.info();
        info.login_required && !info.protected_authentication_path
    }
}
