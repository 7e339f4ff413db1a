//! A token, its login and its sessions.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use tedge_p11_protocol::{Pin, Uri};

use crate::error::{Error, PinTries, Result};

/// What a token says of itself (`CK_TOKEN_INFO`), and the slot it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are the flags of CK_TOKEN_INFO
pub struct TokenInfo {
    /// `CK_SLOT_ID`.
    pub slot: u64,
    /// Label, without its padding.
    pub label: String,
    /// Model.
    pub model: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Serial number.
    pub serial: String,
    /// `CKF_TOKEN_INITIALIZED`.
    pub initialized: bool,
    /// `CKF_USER_PIN_INITIALIZED`.
    pub user_pin_initialized: bool,
    /// `CKF_LOGIN_REQUIRED`.
    pub login_required: bool,
    /// `CKF_PROTECTED_AUTHENTICATION_PATH`: the PIN is typed into the token's reader.
    pub protected_authentication_path: bool,
    /// URI of the token.
    pub uri: Uri,
}

/// A token that is in use.
#[derive(Debug)]
pub(crate) struct Token {
    pkcs11: Pkcs11,
    slot: Slot,
    info: TokenInfo,
    /// Held to read by operations that modules stand at the same time, to write by all others.
    /// Opening and closing sessions and searching are among the latter: libtpm2_pkcs11 1.9 loses
    /// sessions, or crashes, when threads do these at once, whatever CKF_OS_LOCKING_OK says.
    gate: RwLock<()>,
    login: Mutex<Login>,
    idle: Mutex<Vec<Session>>,
    /// To be closed when the token is next seized.
    spent: Mutex<Vec<Session>>,
}

#[derive(Debug, Default)]
struct Login {
    /// Stays open, and with it the login and the handles: a token logs out when its last session
    /// is closed (PKCS#11 3.0, section 5.6.8).
    anchor: Option<Session>,
    /// The PIN that the token was opened with.
    pin: Option<Pin>,
    /// A PIN that the token refused.
    refused: Option<Pin>,
}

impl TokenInfo {
    pub(crate) fn read(pkcs11: &Pkcs11, slot: Slot) -> cryptoki::error::Result<Self> {
        let info = pkcs11.get_token_info(slot)?;
        // Blanks are padding by the standard. libtpm2_pkcs11 pads with NUL: other tools take that for
        // content, so it stays in the URI.
        let exact = |text: &str| Some(text.trim_end_matches(' ').to_owned());
        let uri = Uri {
            token: exact(info.label()),
            model: exact(info.model()),
            manufacturer: exact(info.manufacturer_id()),
            serial: exact(info.serial_number()),
            ..Uri::default()
        };
        let text = |text: &str| unpadded(text).to_owned();
        Ok(Self {
            slot: slot.id(),
            label: text(info.label()),
            model: text(info.model()),
            manufacturer: text(info.manufacturer_id()),
            serial: text(info.serial_number()),
            initialized: info.token_initialized(),
            user_pin_initialized: info.user_pin_initialized(),
            login_required: info.login_required(),
            protected_authentication_path: info.protected_authentication_path(),
            uri,
        })
    }

    /// Whether the token has every attribute of `uri` that speaks of tokens.
    pub(crate) fn matches(&self, uri: &Uri) -> bool {
        let same = |wanted: &Option<String>, own: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| unpadded(wanted) == own)
        };
        same(&uri.token, &self.label)
            && same(&uri.model, &self.model)
            && same(&uri.manufacturer, &self.manufacturer)
            && same(&uri.serial, &self.serial)
            && uri.slot_id.is_none_or(|slot| slot == self.slot)
    }
}

impl Token {
    pub(crate) fn new(pkcs11: Pkcs11, slot: Slot, info: TokenInfo) -> Self {
        Self {
            pkcs11,
            slot,
            info,
            gate: RwLock::new(()),
            login: Mutex::default(),
            idle: Mutex::default(),
            spent: Mutex::default(),
        }
    }

    pub(crate) fn info(&self) -> &TokenInfo {
        &self.info
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.info.uri
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn pkcs11(&self) -> &Pkcs11 {
        &self.pkcs11
    }

    /// Runs `operation`, which signs or reads attributes, in a read-only session, logged in when the
    /// token asks for it. Others may do the same at once. Sessions are kept for the next operation
    /// unless a PKCS#11 call failed in them.
    pub(crate) fn with_session<T>(
        &self,
        pin: Option<&Pin>,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let kept = {
            let _gate = self.share();
            self.is_open(pin)?.then(|| self.idle().pop()).flatten()
        };
        let session = match kept {
            Some(session) => session,
            None => {
                let _gate = self.seize();
                self.log_in(pin)?;
                self.open_ro()?
            }
        };
        let _gate = self.share();
        let result = operation(&session);
        self.keep(session, &result);
        result
    }

    /// Runs `operation`, which searches for objects, in a read-only session while nobody else uses
    /// the token, logged in when it asks for it.
    pub(crate) fn search<T>(
        &self,
        pin: Option<&Pin>,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let _gate = self.seize();
        self.log_in(pin)?;
        let idle = self.idle().pop();
        let session = match idle {
            Some(session) => session,
            None => self.open_ro()?,
        };
        let result = operation(&session);
        self.keep(session, &result);
        result
    }

    /// Like [`search`](Self::search) without asking for a login: it sees public objects, and must
    /// look for no others, since the token may be open for somebody else.
    pub(crate) fn search_public<T>(
        &self,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let _gate = self.seize();
        operation(&self.open_ro()?)
    }

    /// Runs `operation`, which changes the token, in a read-write session of its own, logged in when
    /// the token asks for it. Others may sign at once.
    pub(crate) fn with_rw_session<T>(
        &self,
        pin: Option<&Pin>,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let session = {
            let _gate = self.seize();
            self.log_in(pin)?;
            self.open_rw()?
        };
        let _gate = self.share();
        let result = operation(&session);
        self.spent().push(session);
        result
    }

    /// Changes the user PIN from `old` to `new`.
    pub(crate) fn set_pin(&self, old: &Pin, new: &Pin) -> Result<()> {
        self.with_rw_session(Some(old), |session| {
            session
                .set_pin(&auth_pin(old), &auth_pin(new))
                .map_err(|error| self.error(&error))
        })?;
        let mut login = self.login();
        login.pin = login.pin.is_some().then(|| new.clone());
        login.refused = None;
        Ok(())
    }

    /// Has the security officer set the user PIN to `new`. All other sessions are closed before.
    pub(crate) fn reset_pin(&self, so_pin: &Pin, new: &Pin) -> Result<()> {
        let _gate = self.seize();
        self.close_all();
        init_pin(&self.pkcs11, self.slot, self.uri(), so_pin, new)
    }

    /// Drops the login and every session that no operation is using, because they went stale.
    pub(crate) fn forget(&self) {
        let _gate = self.seize();
        self.close_all();
    }

    pub(crate) fn error(&self, error: &CryptokiError) -> Error {
        Error::pkcs11(error, self.uri())
    }

    /// Whether the token is open for who brings `pin`. Who does not know the PIN that opened it must
    /// not profit from another client's login.
    fn is_open(&self, pin: Option<&Pin>) -> Result<bool> {
        let login = self.login();
        if self.needs_pin() {
            let pin = pin.ok_or_else(|| Error::PinNeeded(self.uri().clone()))?;
            match &login.pin {
                Some(known) if known == pin => {}
                Some(_) => return Err(Error::PinDiffers(self.uri().clone())),
                None if login.refused.as_ref() == Some(pin) => {
                    return Err(Error::PinRefusedBefore(self.uri().clone()));
                }
                None => {}
            }
        }
        Ok(login.anchor.is_some())
    }

    /// Logs in if the token asks for it and nobody has.
    fn log_in(&self, pin: Option<&Pin>) -> Result<()> {
        if self.is_open(pin)? {
            return Ok(());
        }
        let session = self.open_ro()?;
        let pin = pin.filter(|_| self.needs_pin());
        if self.info.login_required {
            if let Err(error) = self.user_login(&session, pin) {
                if matches!(error, Error::PinIncorrect { .. }) {
                    self.login().refused = pin.cloned();
                }
                return Err(error);
            }
        }
        let mut login = self.login();
        login.pin = pin.cloned();
        login.anchor = Some(session);
        Ok(())
    }

    fn user_login(&self, session: &Session, pin: Option<&Pin>) -> Result<()> {
        let auth = pin.map(auth_pin);
        let attempt = || session.login(UserType::User, auth.as_ref());
        let mut result = attempt();
        if let Err(CryptokiError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) = result {
            // Left over from sessions that were given up. Only a login of our own tells whether
            // this PIN is right.
            result = session.logout().and_then(|()| attempt());
        }
        let Err(error) = result else { return Ok(()) };
        Err(match error {
            CryptokiError::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid, Function::Login) => {
                Error::PinIncorrect {
                    token: self.uri().clone(),
                    flags: self.pin_tries(),
                }
            }
            CryptokiError::Pkcs11(RvError::PinLocked, _) => Error::PinLocked(self.uri().clone()),
            other => self.error(&other),
        })
    }

    fn pin_tries(&self) -> PinTries {
        self.pkcs11
            .get_token_info(self.slot)
            .map(|info| PinTries {
                count_low: info.user_pin_count_low(),
                final_try: info.user_pin_final_try(),
                locked: info.user_pin_locked(),
            })
            .unwrap_or_default()
    }

    fn needs_pin(&self) -> bool {
        self.info.login_required && !self.info.protected_authentication_path
    }

    /// Keeps a session for the next operation, unless a PKCS#11 call failed in it.
    fn keep<T>(&self, session: Session, result: &Result<T>) {
        if matches!(result, Err(Error::Pkcs11 { .. })) {
            self.spent().push(session);
        } else {
            self.idle().push(session);
        }
    }

    /// The token must be seized.
    fn close_all(&self) {
        self.idle().clear();
        let mut login = self.login();
        login.anchor = None;
        login.pin = None;
    }

    fn open_ro(&self) -> Result<Session> {
        self.pkcs11
            .open_ro_session(self.slot)
            .map_err(|error| self.error(&error))
    }

    fn open_rw(&self) -> Result<Session> {
        self.pkcs11
            .open_rw_session(self.slot)
            .map_err(|error| self.error(&error))
    }

    fn share(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no operation uses the token, and closes the sessions that are spent.
    fn seize(&self) -> RwLockWriteGuard<'_, ()> {
        let gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.spent().clear();
        gate
    }

    fn login(&self) -> MutexGuard<'_, Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spent(&self) -> MutexGuard<'_, Vec<Session>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets the user PIN of the token in `slot` as its security officer. The token must have no session.
pub(crate) fn init_pin(
    pkcs11: &Pkcs11,
    slot: Slot,
    uri: &Uri,
    so_pin: &Pin,
    new: &Pin,
) -> Result<()> {
    let named = |error: CryptokiError| match error {
        CryptokiError::Pkcs11(RvError::PinIncorrect, Function::Login) => Error::PinIncorrect {
            token: uri.clone(),
            flags: PinTries::default(),
        },
        other => Error::pkcs11(&other, uri),
    };
    let session = pkcs11.open_rw_session(slot).map_err(named)?;
    session
        .login(UserType::So, Some(&auth_pin(so_pin)))
        .map_err(named)?;
    session.init_pin(&auth_pin(new)).map_err(named)?;
    session.logout().map_err(named)
}

pub(crate) fn auth_pin(pin: &Pin) -> AuthPin {
    pin.expose().into()
}

/// A text of `CK_TOKEN_INFO` or the like without its padding.
pub(crate) fn unpadded(text: &str) -> &str {
    text.trim_end_matches(['\0', ' '])
}
