//! A token, its login and its sessions.

mod login;
mod open;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use tedge_p11_protocol::Uri;

use self::open::{Open, is_logged_in, is_out_of_sessions, keep, on_anchor, reset};
use crate::back_off::BackOff;
use crate::call_error::CallError;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::lock::lock;
use crate::pins::{GivenPin, TokenPins};
use crate::quirks::Quirks;
use crate::token_info::TokenInfo;

/// The token in a slot. There is one of these for a slot as long as the module is loaded; when the token
/// is replaced, or what is kept of it went stale, it is reset in place, so that there is always one
/// gate.
#[derive(Debug)]
pub(crate) struct Token {
    pkcs11: Pkcs11,
    quirks: Quirks,
    slot: Slot,
    info: Mutex<Arc<TokenInfo>>,
    /// Shared by operations that modules stand at the same time, seized by all others; making a key is a
    /// long one.
    /// Opening and closing sessions and searching are among the latter: libtpm2_pkcs11 1.9 loses
    /// sessions, or crashes, when threads do these at once, whatever CKF_OS_LOCKING_OK says.
    gate: Gate<Open>,
    pins: Mutex<Arc<TokenPins>>,
    trouble: Mutex<Trouble>,
    troubled: AtomicBool,
}

/// How a token that is in use does, as far as it is known without asking it.
#[derive(Clone, Debug)]
pub struct TokenHealth {
    /// URI of the token.
    pub uri: Uri,
    /// What it last failed with, if it has not signed since.
    pub trouble: Option<CallError>,
    /// How long it is still left alone.
    pub pause: Duration,
}

/// How long a token that keeps failing is left alone, so that failing logins come in seconds, not in
/// thousands a second: a TPM counts some of them.
#[derive(Debug)]
struct Trouble {
    back_off: BackOff,
    /// What it failed with last.
    error: Option<CallError>,
}

impl Token {
    pub(crate) fn new(
        pkcs11: Pkcs11,
        quirks: Quirks,
        slot: Slot,
        info: TokenInfo,
        pins: Arc<TokenPins>,
    ) -> Self {
        Self {
            pkcs11,
            quirks,
            slot,
            info: Mutex::new(Arc::new(info)),
            gate: Gate::default(),
            pins: Mutex::new(pins),
            trouble: Mutex::new(Trouble {
                back_off: BackOff::new(FREE_FAILURES, FIRST_PAUSE, LONGEST_PAUSE),
                error: None,
            }),
            troubled: AtomicBool::new(false),
        }
    }

    pub(crate) fn info(&self) -> Arc<TokenInfo> {
        lock(&self.info).clone()
    }

    pub(crate) fn uri(&self) -> Uri {
        self.info().uri.clone()
    }

    pub(crate) fn health(&self) -> TokenHealth {
        let trouble = lock(&self.trouble);
        let troubled = self.troubled.load(Relaxed);
        TokenHealth {
            uri: self.uri(),
            trouble: trouble.error.clone().filter(|_| troubled),
            pause: trouble.back_off.left(),
        }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn pkcs11(&self) -> &Pkcs11 {
        &self.pkcs11
    }

    /// Runs `operation`, which signs or reads attributes, in a read-only session, logged in when the
    /// token asks for it. Others may do the same at once. Fails with [`Error::Outdated`] if the token
    /// was reset since `generation`.
    pub(crate) fn with_session<T>(
        &self,
        pin: Option<GivenPin<'_>>,
        generation: u64,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        loop {
            let open = self.share();
            if open.generation != generation {
                return Err(Error::Outdated);
            }
            let idle = if self.is_open(&open, pin)? {
                lock(&open.idle).pop()
            } else {
                None
            };
            if let Some(session) = idle {
                let result = operation(&session);
                keep(&open, session, &result);
                drop(open);
                return self.reset_if_stale(generation, result);
            }
            drop(open);
            // While a key is made, no session can be opened: it has to be one that another operation gives
            // back. Nobody tells when; that would cost each signature a system call.
            let Some(mut open) = self.gate.seize_or_pause(SESSION_PAUSE) else {
                continue;
            };
            self.log_in(&mut open, pin)?;
            match self.open_beside(&mut open, Self::open_ro) {
                Ok(session) => lock(&open.idle).push(session),
                Err(error) if is_out_of_sessions(&error, &open) => {
                    if open.generation != generation {
                        return Err(Error::Outdated);
                    }
                    let result = on_anchor(&mut open, error, operation);
                    drop(open);
                    return self.reset_if_stale(generation, result);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs `operation`, which searches for objects, in a read-only session while nobody else uses
    /// the token, logged in when it asks for it. It is told the generation of what it finds. With a
    /// handle that was found before, `since` is the generation of that.
    pub(crate) fn search<T>(
        &self,
        pin: Option<GivenPin<'_>>,
        since: Option<u64>,
        operation: impl FnOnce(&Session, u64) -> Result<T>,
    ) -> Result<T> {
        let mut open = self.seize_soon()?;
        if since.is_some_and(|since| since != open.generation) {
            return Err(Error::Outdated);
        }
        let session = self.logged_in(&mut open, pin);
        let generation = open.generation;
        let operation = |session: &Session| operation(session, generation);
        let result = match session {
            Ok(session) => {
                let result = operation(&session);
                keep(&open, session, &result);
                result
            }
            Err(error) if is_out_of_sessions(&error, &open) => {
                on_anchor(&mut open, error, operation)
            }
            Err(error) => return Err(error),
        };
        drop(open);
        self.reset_if_stale(generation, result)
    }

    /// Like [`search`](Self::search) without asking for a login: it sees public objects, and must
    /// look for no others, since the token may be open for somebody else.
    pub(crate) fn search_public<T>(
        &self,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let mut open = self.seize_soon()?;
        let generation = open.generation;
        let result = match self.open_ro() {
            Ok(session) => operation(&session),
            Err(error) if is_out_of_sessions(&error, &open) => {
                on_anchor(&mut open, error, operation)
            }
            Err(error) => Err(error),
        };
        drop(open);
        self.reset_if_stale(generation, result)
    }

    /// Runs `operation`, which makes a key, in a read-write session of its own, logged in when the
    /// token asks for it. Others may sign at once: making an RSA key can take a minute.
    pub(crate) fn with_rw_session<T>(
        &self,
        pin: Option<GivenPin<'_>>,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let mut open = self.seize_soon()?;
        // For those who sign meanwhile.
        let session = self.logged_in(&mut open, pin).and_then(|spare| {
            lock(&open.idle).push(spare);
            self.open_beside(&mut open, Self::open_rw)
        });
        let session = match session {
            Err(error) if is_out_of_sessions(&error, &open) => {
                let result = self
                    .open_alone(&mut open, pin)
                    .and_then(|session| operation(&session));
                reset(&mut open);
                return result;
            }
            session => session?,
        };
        let generation = open.generation;
        let long = self.gate.begin_long(open);
        let result = operation(&session);
        lock(&self.share().spent).push(session);
        drop(long);
        self.reset_if_stale(generation, result)
    }

    /// Runs `operation`, which finds and destroys objects, in a read-write session while nobody else
    /// uses the token. Everything kept of the token is dropped afterwards, since a module may give
    /// the handles of what was destroyed to other objects.
    pub(crate) fn with_exclusive_session<T>(
        &self,
        pin: Option<GivenPin<'_>>,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let mut open = self.seize_soon()?;
        self.log_in(&mut open, pin)?;
        let session = match self.open_beside(&mut open, Self::open_rw) {
            Err(error) if is_out_of_sessions(&error, &open) => self.open_alone(&mut open, pin),
            session => session,
        };
        let result = session.and_then(|session| operation(&session));
        reset(&mut open);
        result
    }

    /// Drops the login and every session; handles found before are outdated from then on.
    pub(crate) fn reset(&self) {
        reset(&mut self.seize());
    }

    /// Like [`reset`](Self::reset), and forgets what it failed with: the module is being initialised
    /// anew.
    pub(crate) fn start_over(&self) {
        self.reset();
        lock(&self.trouble).back_off.succeeded();
    }

    /// Another token is in the slot now, or the same with other flags.
    pub(crate) fn replace(&self, info: TokenInfo, pins: Arc<TokenPins>) {
        let mut open = self.seize();
        *lock(&self.info) = Arc::new(info);
        *lock(&self.pins) = pins;
        reset(&mut open);
    }

    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.share().generation == generation
    }

    pub(crate) fn error(&self, error: CryptokiError) -> Error {
        CallError::new(error, &self.uri()).into()
    }

    /// One failure causes one reset, however many operations see it.
    fn reset_if_stale<T>(&self, generation: u64, result: Result<T>) -> Result<T> {
        if let Some(error) = result.as_ref().err().and_then(Error::stale) {
            let mut open = self.seize();
            if open.generation == generation {
                reset(&mut open);
                self.note_trouble(error);
            }
        }
        result
    }

    fn note_trouble(&self, error: &CallError) {
        let mut trouble = lock(&self.trouble);
        trouble.back_off.failed();
        trouble.error = Some(error.clone());
        self.troubled.store(true, Relaxed);
    }

    /// A signature was made. That a token answers simpler questions is no proof that it works.
    pub(crate) fn note_success(&self) {
        // Nearly always there was no trouble, and nothing to lock.
        if self.troubled.swap(false, Relaxed) {
            lock(&self.trouble).back_off.succeeded();
        }
    }

    /// A read-only session, logged in when the token asks for it.
    fn logged_in(&self, open: &mut Open, pin: Option<GivenPin<'_>>) -> Result<Session> {
        self.log_in(open, pin)?;
        let idle = lock(&open.idle).pop();
        match idle {
            Some(session) => Ok(session),
            None => self.open_beside(open, Self::open_ro),
        }
    }

    /// Opens a session beside those that are there, which must be as logged in as they were. A token
    /// that was away has lost its login, and says nothing of it: it hides its private objects.
    fn open_beside(
        &self,
        open: &mut Open,
        open_session: fn(&Self) -> Result<Session>,
    ) -> Result<Session> {
        let result = open_session(self).and_then(|session| {
            if open.logged_in && !is_logged_in(&session).unwrap_or(false) {
                let lost = CryptokiError::Pkcs11(RvError::UserNotLoggedIn, Function::OpenSession);
                return Err(self.error(lost));
            }
            Ok(session)
        });
        let error = result.as_ref().err();
        let error = error.filter(|error| !is_out_of_sessions(error, open));
        if let Some(error) = error.and_then(Error::stale) {
            reset(open);
            self.note_trouble(error);
        }
        result
    }

    /// A read-write session in place of all others, on a token that has no more of them. It has the login of `pin`, which
    /// has opened the token before.
    fn open_alone(&self, open: &mut Open, pin: Option<GivenPin<'_>>) -> Result<Session> {
        reset(open);
        let session = self.open_rw()?;
        if self.info().login_required {
            self.counted_login(&session, UserType::User, pin)?;
        }
        Ok(session)
    }

    fn open_ro(&self) -> Result<Session> {
        self.pkcs11
            .open_ro_session(self.slot)
            .map_err(|error| self.error(error))
    }

    fn open_rw(&self) -> Result<Session> {
        self.pkcs11
            .open_rw_session(self.slot)
            .map_err(|error| self.error(error))
    }

    fn share(&self) -> RwLockReadGuard<'_, Open> {
        self.gate.share()
    }

    /// Waits until no operation uses the token, and closes the sessions that are spent.
    fn seize(&self) -> RwLockWriteGuard<'_, Open> {
        let open = self.gate.seize();
        lock(&open.spent).clear();
        open
    }

    /// The same for what a client asks for: not many wait while a key is made.
    fn seize_soon(&self) -> Result<RwLockWriteGuard<'_, Open>> {
        let open = self
            .gate
            .seize_soon()
            .ok_or_else(|| Error::MakesKey(self.uri()))?;
        lock(&open.spent).clear();
        Ok(open)
    }
}

/// For a session to come back while a key is made.
const SESSION_PAUSE: Duration = Duration::from_millis(5);
/// Failures in a row that are followed by another try at once.
const FREE_FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
