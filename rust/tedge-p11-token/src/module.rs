//! A PKCS#11 module and what is kept of its tokens and keys.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::slot::Slot;
use tedge_p11_protocol::{Pin, PublicKey, SignatureScheme, Uri};

use crate::access::{Access, SignatureCheck};
use crate::back_off::BackOff;
use crate::configured_pin::ConfiguredPin;
use crate::error::{Absent, Error, Result, code_name};
use crate::find::{self, KeySelector};
use crate::generate;
use crate::key::{Key, KeyInfo};
use crate::pin_tries::TokenPins;
use crate::refused_pins::RefusedPins;
use crate::seldom::Seldom;
use crate::token::{Token, TokenHealth, TokenInfo, unpadded};
use crate::usage::{NotAlone, Usage};

/// A loaded PKCS#11 module. Any number of threads may use it at once.
///
/// Sessions, logins and key handles are kept between operations. When a call says that one of them
/// went stale, it is dropped and the operation tried once more.
#[derive(Debug)]
pub struct Module {
    pkcs11: Pkcs11,
    usage: Usage,
    /// Between initialising the module anew because it fails and doing so again.
    after_failure: Mutex<BackOff>,
    /// The same because it does not have what is asked for. Clients can ask for what there is not, and must
    /// not delay the end of a failure by it.
    after_search: Mutex<BackOff>,
    /// See [`pin_changed`](Self::pin_changed); until the module was initialised anew.
    pin_changed: AtomicBool,
    /// How often the module was initialised anew.
    renewals: AtomicUsize,
    /// What `C_Initialize` returned, if the module could not be initialised anew.
    broken: Mutex<Option<RvError>>,
    /// By slot.
    tokens: Mutex<HashMap<u64, Arc<Token>>>,
    /// By the token's URI, its serial number among it; for as long as the process runs, wherever the token
    /// is meanwhile.
    pins: Mutex<HashMap<String, Arc<TokenPins>>>,
    refused_pins: OnceLock<Arc<RefusedPins>>,
    configured_pin: Arc<ConfiguredPin>,
    no_token_warning: Seldom,
    pub(crate) first_key_warning: Seldom,
    /// By [`KeySelector::cache_key`].
    keys: Mutex<HashMap<String, Arc<Key>>>,
}

impl Module {
    /// Loads the module in the file `path` and initialises it for use by several threads.
    pub fn load(path: &Path) -> Result<Self> {
        let failed = |reason: String| Error::ModuleLoad {
            path: path.to_owned(),
            reason,
        };
        let pkcs11 = Pkcs11::new(path).map_err(|error| match error {
            CryptokiError::LibraryLoading(error) => failed(error.to_string()),
            other => failed(other.to_string()),
        })?;
        initialize(&pkcs11).map_err(|error| match error {
            CryptokiError::Pkcs11(rv, _) => {
                failed(format!("C_Initialize failed with {}", code_name(rv)))
            }
            other => failed(other.to_string()),
        })?;
        Ok(Self {
            pkcs11,
            usage: Usage::default(),
            after_failure: Mutex::new(BackOff::new(1, REINIT_PAUSE, MAX_REINIT_PAUSE)),
            after_search: Mutex::new(BackOff::new(1, REINIT_PAUSE, MAX_REINIT_PAUSE)),
            pin_changed: AtomicBool::new(false),
            renewals: AtomicUsize::new(0),
            broken: Mutex::default(),
            tokens: Mutex::default(),
            pins: Mutex::default(),
            refused_pins: OnceLock::new(),
            configured_pin: Arc::default(),
            no_token_warning: Seldom::default(),
            first_key_warning: Seldom::default(),
            keys: Mutex::default(),
        })
    }

    /// All tokens that are present, initialised or not. When there is none, a warning says what may be
    /// wrong, once a minute.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>> {
        let tokens = self.attempt(|| self.present())?;
        if tokens.is_empty() && self.no_token_warning.is_due() {
            log::warn!("{}", self.absent());
        }
        Ok(tokens)
    }

    /// Signs `message` with the selected key, with `scheme` or with the scheme that the key prefers,
    /// if `check` has nothing against it. ECDSA signatures come as DER `ECDSA-Sig-Value`, others raw.
    pub fn sign(
        &self,
        key: &KeySelector,
        access: Access<'_>,
        scheme: Option<SignatureScheme>,
        message: &[u8],
        check: SignatureCheck<'_>,
    ) -> Result<Vec<u8>> {
        self.with_key(key, access, |key| {
            key.sign(access.pin, scheme, message, check)
        })
    }

    /// The selected key's URI and its schemes, in the order that a TLS 1.3 client prefers.
    pub fn schemes(
        &self,
        key: &KeySelector,
        access: Access<'_>,
    ) -> Result<(Uri, Vec<SignatureScheme>)> {
        self.with_key(key, access, |key| {
            // Nothing of a key is told to who could not use it.
            key.with_session(access.pin, |_| Ok(()))?;
            Ok((key.uri.clone(), key.schemes()))
        })
    }

    /// The selected key's URI, public key and schemes. Looks the key up anew, and so sees whether the
    /// selector still leaves one key only.
    pub fn key_info(&self, key: &KeySelector, access: Access<'_>) -> Result<KeyInfo> {
        self.attempt(|| self.find_key(key, access)?.info(access.pin))
    }

    /// URI and value of the public key that `key` names, of a public key object if there is one (that
    /// takes no login on most tokens), otherwise of the private key.
    pub fn public_key(&self, key: &KeySelector, access: Access<'_>) -> Result<(Uri, PublicKey)> {
        if let KeySelector::Uri(uri) = key {
            // A token's URI may leave a public key that belongs to no private one.
            if uri.names_object() {
                let found = self.attempt(|| find::public_object(self, uri))?;
                if let Some(found) = found {
                    return Ok(found);
                }
            }
        }
        self.key_info(key, access)
            .map(|info| (info.uri, info.public_key))
    }

    /// How the tokens do that were used so far. Makes no call on the module, and so waits for none.
    pub fn health(&self) -> Vec<TokenHealth> {
        let mut tokens: Vec<_> = self.kept_tokens().values().cloned().collect();
        tokens.sort_by_key(|token| token.slot().id());
        let broken = self.broken().map(|error| error.to_string());
        let health = |token: &Arc<Token>| {
            let mut health = token.health();
            // What a token failed with before the module went is not what keeps it from working.
            health.trouble = broken.clone().or(health.trouble);
            health
        };
        tokens.iter().map(health).collect()
    }

    /// Has the PINs that tokens refuse kept in `file`, so that they are not tried again when the process is
    /// restarted. To be called before the first login.
    pub fn keep_refused_pins(&self, file: &Path) {
        let _ = self.refused_pins.set(Arc::new(RefusedPins::open(file)));
    }

    /// What the operator configured: `pin` for the tokens with the attributes of `token`, or, if it has
    /// neither label nor serial number, for the only token. It is tried before those that callers bring.
    pub fn configure_pin(&self, token: Uri, pin: Option<Pin>) {
        self.configured_pin.set(token, pin);
    }

    /// Another PIN was configured: where it is not the one that a token was opened with, the module is
    /// initialised anew to find out which is right. A module may keep to a PIN that another program has
    /// changed (SoftHSM2 does, until C_Initialize).
    pub fn pin_changed(&self) {
        self.pin_changed.store(true, SeqCst);
    }

    /// Ends the use of the module (`C_Finalize`) for good: what begins afterwards never ends. Does nothing
    /// while some call does not return.
    pub fn finalize(&self) {
        let Ok(alone) = self.usage.alone(ALONE_LIMIT) else {
            return;
        };
        std::mem::forget(alone);
        for token in self.kept_tokens().values() {
            token.reset();
        }
        if let Err(error) = self.pkcs11.clone().finalize() {
            log::debug!("C_Finalize: {error}");
        }
    }

    /// Runs `operation`, and again where that helps: at once when a token was reset meanwhile; when
    /// what was kept of a token proved stale (the token has been reset by then); and with the module
    /// initialised anew when that did not help, when no token or key matches (some modules look for what
    /// others made only then), when another PIN is configured or when the module mixed up its handles.
    pub(crate) fn attempt<T>(&self, operation: impl Fn() -> Result<T>) -> Result<T> {
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
                Error::NoKey { .. } if self.reads_its_store_once() => true,
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
            } else if renewals != self.renewals.load(SeqCst) || self.reinitialize(&error, back_off)
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
            Some(cause) if error.needs_initialization() => cause,
            _ => error,
        }
    }

    fn broken(&self) -> Option<Error> {
        let code = *lock(&self.broken);
        let error = CryptokiError::Pkcs11(code?, Function::Initialize);
        Some(Error::pkcs11(&error, &Uri::default()))
    }

    /// `C_Finalize` and `C_Initialize` because of `error`, unless that was done a short time ago, or
    /// some operation does not end. Tells whether it was done.
    fn reinitialize(&self, error: &Error, back_off: &Mutex<BackOff>) -> bool {
        if !lock(back_off).left().is_zero() {
            return false;
        }
        lock(back_off).failed(); // until it turns out to have helped
        log::info!("initialising the module anew: {error}");
        self.renew()
    }

    pub(crate) fn renew(&self) -> bool {
        let _alone = match self.usage.alone(ALONE_LIMIT) {
            Ok(alone) => alone,
            Err(NotAlone::AnotherIs) => {
                // It has been done when one can enter.
                drop(self.usage.enter());
                return true;
            }
            Err(NotAlone::InUse) => {
                log::warn!("the module is in use: not initialised anew");
                return false;
            }
        };
        self.forget_keys();
        let tokens: Vec<_> = self.kept_tokens().values().cloned().collect();
        for token in tokens {
            token.start_over();
        }
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
            log::error!("cannot initialise the module anew: {error}");
        }
        result.is_ok()
    }

    /// Whether a module gives the handle of an object that is there to a new one, once an object was
    /// deleted, as libtpm2_pkcs11 1.9 does.
    pub(crate) fn mixes_up_handles(&self) -> bool {
        generate::is_tpm2_pkcs11(&self.pkcs11)
    }

    /// Whether a module sees what other programs make in its store only when it is initialised, as
    /// libtpm2_pkcs11 does.
    fn reads_its_store_once(&self) -> bool {
        generate::is_tpm2_pkcs11(&self.pkcs11)
    }

    /// What [`tokens`](Self::tokens) returns.
    pub(crate) fn present(&self) -> Result<Vec<TokenInfo>> {
        let failed = |error: &CryptokiError| Error::pkcs11(error, &Uri::default());
        let slots = self
            .pkcs11
            .get_slots_with_token()
            .map_err(|error| failed(&error))?;
        let mut tokens = Vec::new();
        for slot in slots {
            match TokenInfo::read(&self.pkcs11, slot) {
                Ok(info) => tokens.push(info),
                // Emptied just now; that is no reason to hide the others.
                Err(CryptokiError::Pkcs11(
                    RvError::TokenNotPresent
                    | RvError::TokenNotRecognized
                    | RvError::SlotIdInvalid
                    | RvError::DeviceRemoved,
                    _,
                )) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(tokens)
    }

    /// The one initialised token that `uri` leaves.
    pub(crate) fn token(&self, uri: &Uri) -> Result<Arc<Token>> {
        if let Some(token) = self.token_in_use(uri) {
            return Ok(token);
        }
        let present = self.initialised()?;
        let mut matching = self.matching(present.clone(), uri);
        match (matching.pop(), matching.is_empty()) {
            (Some(token), true) => Ok(token),
            (None, _) => Err(Error::NoToken {
                uri: uri.token_part(),
                absent: self.present()?.is_empty().then(|| self.absent()),
                tokens: present.into_iter().map(|token| token.uri).collect(),
            }),
            (Some(last), false) => {
                matching.push(last);
                Err(Error::SeveralTokens {
                    uri: uri.token_part(),
                    tokens: matching.iter().map(|t| t.uri()).collect(),
                })
            }
        }
    }

    /// Every initialised token that `uri` leaves, with what is kept of it.
    pub(crate) fn matching_tokens(&self, uri: &Uri) -> Result<Vec<Arc<Token>>> {
        Ok(self.matching(self.initialised()?, uri))
    }

    fn matching(&self, present: Vec<TokenInfo>, uri: &Uri) -> Vec<Arc<Token>> {
        let is_only = present.len() == 1;
        present
            .into_iter()
            .filter(|info| info.matches(uri) && self.slot_matches(info, uri))
            .filter_map(|info| self.kept(info, is_only))
            .collect()
    }

    /// The one token that is in use already and that `uri` names by its label, if it is still there.
    /// The other slots are not asked: one of them may hang.
    fn token_in_use(&self, uri: &Uri) -> Option<Arc<Token>> {
        uri.token.as_ref()?;
        let in_use: Vec<_> = self.kept_tokens().values().cloned().collect();
        let mut named = in_use
            .into_iter()
            .filter(|token| token.info().initialized && token.info().matches(uri));
        let (token, None) = (named.next()?, named.next()) else {
            return None;
        };
        let info = TokenInfo::read(&self.pkcs11, token.slot()).ok()?;
        (*token.info() == info && self.slot_matches(&info, uri)).then_some(token)
    }

    /// Attributes of the slot and of the module are asked for only when a URI has them.
    pub(crate) fn slot_matches(&self, info: &TokenInfo, uri: &Uri) -> bool {
        let slot_is_given = uri.slot_description.is_some() || uri.slot_manufacturer.is_some();
        let library_is_given = uri.library_manufacturer.is_some()
            || uri.library_description.is_some()
            || uri.library_version.is_some();
        let same = |wanted: &Option<String>, own: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| unpadded(wanted) == unpadded(own))
        };
        let slot_fits = || {
            let slot = Slot::try_from(info.slot).ok()?;
            let slot = self.pkcs11.get_slot_info(slot).ok()?;
            Some(
                same(&uri.slot_description, slot.slot_description())
                    && same(&uri.slot_manufacturer, slot.manufacturer_id()),
            )
        };
        let library_fits = || {
            let library = self.pkcs11.get_library_info().ok()?;
            let version = library.library_version();
            Some(
                same(&uri.library_manufacturer, library.manufacturer_id())
                    && same(&uri.library_description, library.library_description())
                    && uri
                        .library_version
                        .is_none_or(|wanted| wanted == (version.major(), version.minor())),
            )
        };
        (!slot_is_given || slot_fits() == Some(true))
            && (!library_is_given || library_fits() == Some(true))
    }

    /// Finds a key, or takes the one found before, and runs `operation` on it.
    fn with_key<T>(
        &self,
        selector: &KeySelector,
        access: Access<'_>,
        operation: impl Fn(&Key) -> Result<T>,
    ) -> Result<T> {
        let cache_key = selector.cache_key();
        self.attempt(|| {
            let known = self.keys().get(&cache_key).cloned();
            let key = match known.filter(|key| key.is_current()) {
                Some(key) => key,
                None => self.find_key(selector, access)?,
            };
            operation(&key)
        })
    }

    /// Drops every kept key: their handles may now be those of other objects.
    pub(crate) fn forget_keys(&self) {
        self.keys().clear();
    }

    pub(crate) fn pkcs11(&self) -> &Pkcs11 {
        &self.pkcs11
    }

    fn absent(&self) -> Absent {
        match self.pkcs11.get_all_slots() {
            Ok(slots) if slots.is_empty() => Absent::Slot,
            _ => Absent::Token,
        }
    }

    fn initialised(&self) -> Result<Vec<TokenInfo>> {
        let mut tokens = self.present()?;
        tokens.retain(|token| token.initialized);
        Ok(tokens)
    }

    /// What is kept of the token in a slot.
    fn kept(&self, info: TokenInfo, is_only: bool) -> Option<Arc<Token>> {
        let slot = Slot::try_from(info.slot).ok()?;
        let pins = self.pins_of(&info);
        pins.is_only.store(is_only, SeqCst);
        let mut tokens = self.kept_tokens();
        let Some(token) = tokens.get(&info.slot).cloned() else {
            let token = Arc::new(Token::new(self.pkcs11.clone(), slot, info, pins));
            tokens.insert(slot.id(), token.clone());
            return Some(token);
        };
        drop(tokens);
        if *token.info() != info {
            token.replace(info, pins);
        }
        Some(token)
    }

    fn pins_of(&self, token: &TokenInfo) -> Arc<TokenPins> {
        let uri = token.uri.to_string();
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pins) = pins.get(&uri) {
            return pins.clone();
        }
        let configured = self.configured_pin.clone();
        let new = Arc::new(TokenPins::new(&uri, configured, self.refused_pins.get()));
        pins.insert(uri, new.clone());
        new
    }

    fn find_key(&self, selector: &KeySelector, access: Access<'_>) -> Result<Arc<Key>> {
        let key = Arc::new(find::private_key(self, selector, access)?);
        let mut keys = self.keys();
        // Clients choose the selectors: what they can fill is bounded.
        if keys.len() >= MAX_KEPT_KEYS {
            keys.clear();
        }
        keys.insert(selector.cache_key(), key.clone());
        Ok(key)
    }

    fn kept_tokens(&self) -> MutexGuard<'_, HashMap<u64, Arc<Token>>> {
        lock(&self.tokens)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, Arc<Key>>> {
        lock(&self.keys)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn initialize(pkcs11: &Pkcs11) -> cryptoki::error::Result<()> {
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

const MAX_KEPT_KEYS: usize = 256;
/// A token that is reset again and again must not hold a client for ever.
const MAX_OUTDATED: usize = 16;
/// Failures after which new sessions are tried, before the module is initialised anew.
const MAX_STALE: usize = 2;
/// After initialising the module anew in vain.
const REINIT_PAUSE: Duration = Duration::from_secs(1);
const MAX_REINIT_PAUSE: Duration = Duration::from_secs(60);
/// For the operations under way to end before the module is initialised anew.
const ALONE_LIMIT: Duration = Duration::from_millis(500);
