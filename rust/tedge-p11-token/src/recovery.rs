//! Trying again what failed, with new sessions or with the module initialised anew.

use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use tedge_p11_protocol::Uri;

use crate::back_off::BackOff;
use crate::call_error::CallError;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::quirks::Quirks;
use crate::usage::{NotAlone, Usage};

/// The use of a module that may have to be initialised anew.
#[derive(Debug)]
pub(crate) struct Recovery {
    pkcs11: Pkcs11,
    quirks: Quirks,
    usage: Usage,
    /// Between initialising the module again because it fails and doing so again.
    after_failure: Mutex<BackOff>,
    /// The same because it does not have what is asked for. Clients can ask for what there is not, and must
    /// not delay the end of a failure by it.
    after_search: Mutex<BackOff>,
    /// Whether another PIN was configured since the module was initialised anew.
    pin_changed: AtomicBool,
    /// How often the module was initialised anew.
    renewals: AtomicUsize,
    /// What `C_Initialize` returned, if the module could not be initialised anew.
    broken: Mutex<Option<RvError>>,
}

/// Drops all that is kept of the module's tokens and keys: it is about to be initialised anew.
pub(crate) type Forget<'a> = &'a dyn Fn();

impl Recovery {
    /// Of a module that is initialised.
    pub(crate) fn new(pkcs11: Pkcs11, quirks: Quirks) -> Self {
        Self {
            pkcs11,
            quirks,
            usage: Usage::default(),
            after_failure: Mutex::new(BackOff::new(1, REINIT_PAUSE, MAX_REINIT_PAUSE)),
            after_search: Mutex::new(BackOff::new(1, REINIT_PAUSE, MAX_REINIT_PAUSE)),
            pin_changed: AtomicBool::new(false),
            renewals: AtomicUsize::new(0),
            broken: Mutex::default(),
        }
    }

    /// Runs `operation`, and again where that helps: at once when a token was reset meanwhile; when
    /// what was kept of a token proved stale (the token has been reset by then); and with the module
    /// initialised anew when that did not help, when no token or key matches (some modules look for what
    /// others made only then), when another PIN is configured or when the module mixed up its handles.
    pub(crate) fn attempt<T>(
        &self,
        forget: Forget<'_>,
        mut operation: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let mut outdated = 0;
        let mut stale = 0;
        let mut renewed: Option<&Mutex<BackOff>> = None;
        loop {
            let pin_changed = self.pin_changed.load(SeqCst);
            let renewals = self.renewals.load(SeqCst);
            let result = {
                let _in_use = self.usage.enter();
                operation()
            };
            let Err(error) = result else {
                if let Some(back_off) = renewed {
                    lock(back_off).succeeded();
                }
                return result;
            };
            let back_off = match &error {
                Error::NoToken { .. } | Error::NoKey { .. } => &self.after_search,
                _ => &self.after_failure,
            };
            let anew = match &error {
                Error::Outdated if outdated < MAX_OUTDATED => {
                    outdated += 1;
                    continue;
                }
                Error::WrongObject { .. } | Error::NoToken { .. } => true,
                Error::NoKey { .. } if self.quirks.reads_its_store_once() => true,
                Error::PinDiffers(_) if pin_changed => true,
                error if error.needs_initialization() => true,
                error if error.is_stale() => {
                    stale += 1;
                    stale > MAX_STALE
                }
                // It went on failing until it got a pause, in which new sessions are not tried.
                Error::Failing { .. } if stale > 0 => true,
                _ => return Err(error),
            };
            if !anew {
                log::debug!("{error}; trying once more with new sessions");
            } else if renewed.is_some() {
                return Err(self.cause(error));
            } else if renewals != self.renewals.load(SeqCst)
                || self.reinitialize(&error, back_off, forget)
            {
                // By this operation, or by another that had the same trouble.
                renewed = Some(back_off);
            } else {
                return Err(self.cause(error));
            }
        }
    }

    /// That a module is not initialised says nothing; why it can't be does.
    fn cause(&self, error: Error) -> Error {
        match self.broken() {
            Some(cause) if error.needs_initialization() => cause.into(),
            _ => error,
        }
    }

    /// Why the module could not be initialised anew.
    pub(crate) fn broken(&self) -> Option<CallError> {
        let code = *lock(&self.broken);
        let error = CryptokiError::Pkcs11(code?, Function::Initialize);
        Some(CallError::new(error, &Uri::default()))
    }

    /// `C_Finalize` and `C_Initialize` because of `error`, unless that was done a short time ago, or
    /// some operation does not end. Tells whether it was done.
    fn reinitialize(&self, error: &Error, back_off: &Mutex<BackOff>, forget: Forget<'_>) -> bool {
        if !lock(back_off).left().is_zero() {
            return false;
        }
        lock(back_off).failed(); // until it turns out to have helped
        log::info!("initialising the module again: {error}");
        self.renew(forget)
    }

    /// `C_Finalize` and `C_Initialize`. Tells whether it was done.
    pub(crate) fn renew(&self, forget: Forget<'_>) -> bool {
        let _alone = match self.usage.alone(ALONE_LIMIT) {
            Ok(alone) => alone,
            Err(NotAlone::AnotherIs) => {
                // It has been done when one can enter.
                drop(self.usage.enter());
                return true;
            }
            Err(NotAlone::InUse) => {
                log::warn!("the module is in use: not initialised again");
                return false;
            }
        };
        forget();
        if let Err(error) = self.pkcs11.clone().finalize() {
            log::debug!("C_Finalize: {error}");
        }
        self.pin_changed.store(false, SeqCst);
        self.renewals.fetch_add(1, SeqCst);
        let result = match initialize(&self.pkcs11) {
            Err(CryptokiError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            result => result,
        };
        *lock(&self.broken) = match result {
            Err(CryptokiError::Pkcs11(code, _)) => Some(code),
            _ => None,
        };
        if let Err(error) = &result {
            log::error!("cannot initialise the module again: {error}");
        }
        result.is_ok()
    }

    /// Another PIN was configured.
    pub(crate) fn note_pin_change(&self) {
        self.pin_changed.store(true, SeqCst);
    }

    /// Runs `end` when no operation is under way; what begins afterwards never ends. Does nothing while some
    /// operation does not end.
    pub(crate) fn finish(&self, end: impl FnOnce()) {
        let Ok(alone) = self.usage.alone(ALONE_LIMIT) else {
            return;
        };
        std::mem::forget(alone);
        end();
    }
}

/// `C_Initialize`, for use by several threads.
pub(crate) fn initialize(pkcs11: &Pkcs11) -> cryptoki::error::Result<()> {
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

/// A token that is reset again and again must not hold a client for ever.
const MAX_OUTDATED: usize = 16;
/// Failures after which new sessions are tried, before the module is initialised anew.
const MAX_STALE: usize = 2;
/// After initialising the module again in vain.
const REINIT_PAUSE: Duration = Duration::from_secs(1);
const MAX_REINIT_PAUSE: Duration = Duration::from_secs(60);
/// For the operations under way to end before the module is initialised anew or finalised.
const ALONE_LIMIT: Duration = Duration::from_millis(500);
