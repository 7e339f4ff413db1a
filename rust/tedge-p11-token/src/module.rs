//! A PKCS#11 module and what is kept of its tokens and keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::slot::Slot;
use tedge_p11_protocol::{MODULE_MANUFACTURER, MODULE_MARK, Pin, Uri};

use crate::call_error::CallError;
use crate::error::{Absent, Error, Result};
use crate::installed::Installed;
use crate::key::Key;
use crate::load_error::LoadError;
use crate::lock::lock;
use crate::pins::{ConfiguredPin, KeptPins, TokenPins};
use crate::quirks::Quirks;
use crate::recovery::{Recovery, initialize};
use crate::seldom::Seldom;
use crate::token::{Token, TokenHealth};
use crate::token_info::{TokenInfo, unpadded};

/// A loaded PKCS#11 module. Any number of threads may use it at once.
///
/// Sessions, logins and key handles are kept between operations. When a call says that one of them
/// went stale, it is dropped and the operation tried once more.
#[derive(Debug)]
pub struct Module {
    pkcs11: Pkcs11,
    quirks: Quirks,
    recovery: Recovery,
    /// By slot.
    tokens: Mutex<HashMap<u64, Arc<Token>>>,
    /// By the token's URI, its serial number among it; for as long as the process runs, wherever the token
    /// is meanwhile.
    pins: Mutex<HashMap<String, Arc<TokenPins>>>,
    kept_pins: OnceLock<Arc<KeptPins>>,
    /// Counts what is to be settled in `pins`.
    unsettled: Arc<AtomicUsize>,
    configured_pin: Arc<ConfiguredPin>,
    installed: Installed,
    no_token_warning: Seldom,
    pub(crate) first_key_warning: Seldom,
    /// By [`KeySelector::cache_key`].
    keys: Mutex<HashMap<String, Arc<Key>>>,
}

impl Module {
    /// Loads the module in the file `path` and initialises it for use by several threads. Ours for programs that
    /// use the signer is refused, by what is in its file.
    pub fn load(path: &Path) -> Result<Self> {
        let own = || Error::ModuleLoad {
            path: path.to_owned(),
            reason: LoadError::Own,
        };
        if is_own(path) {
            return Err(own());
        }
        let module = Self::load_any(path)?;
        // Found by the linker's search, perhaps. It asks the signer's socket, but not before somebody wants its slots.
        let info = module.pkcs11.get_library_info();
        if info.is_ok_and(|info| info.manufacturer_id() == MODULE_MANUFACTURER) {
            return Err(own());
        }
        Ok(module)
    }

    /// The same for a process that is no signer, and looks at what programs see.
    pub fn load_any(path: &Path) -> Result<Self> {
        let failed = |error| Error::ModuleLoad {
            path: path.to_owned(),
            reason: LoadError::new(path, error),
        };
        let pkcs11 = Pkcs11::new(path).map_err(failed)?;
        initialize(&pkcs11).map_err(failed)?;
        let quirks = Quirks::of(&pkcs11);
        Ok(Self {
            quirks,
            recovery: Recovery::new(pkcs11.clone(), quirks),
            pkcs11,
            tokens: Mutex::default(),
            pins: Mutex::default(),
            kept_pins: OnceLock::new(),
            unsettled: Arc::default(),
            configured_pin: Arc::default(),
            installed: Installed::default(),
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

    /// How the tokens do that were used so far. Makes no call on the module, and so waits for none.
    pub fn health(&self) -> Vec<TokenHealth> {
        let mut tokens: Vec<_> = self.kept_tokens().values().cloned().collect();
        tokens.sort_by_key(|token| token.slot().id());
        let broken = self.recovery.broken();
        let health = |token: &Arc<Token>| {
            let mut health = token.health();
            // What a token failed with before the module went is not what keeps it from working.
            health.trouble = broken.clone().or(health.trouble);
            health
        };
        tokens.iter().map(health).collect()
    }

    /// The URIs of the tokens that were used so far, with their slots. Makes no call on the module.
    pub fn used_tokens(&self) -> Vec<Uri> {
        let tokens = self.kept_tokens();
        let uri = |token: &Arc<Token>| Uri {
            slot_id: Some(token.slot().id()),
            ..token.uri()
        };
        tokens.values().map(uri).collect()
    }

    /// Has wrong PINs, and who gave them, kept in `file`, so that they are not tried again and guesses are counted
    /// on when the process is restarted. To be called before the first login.
    pub fn keep_wrong_pins(&self, file: &Path) {
        let _ = self.kept_pins.set(Arc::new(KeptPins::open(file)));
    }

    /// What the operator configured: `pin` for the tokens with the attributes of `token`, or, if it has
    /// neither label nor serial number, for the only token. It is tried before those that callers bring.
    pub fn configure_pin(&self, token: Uri, pin: Option<Pin>) {
        self.configured_pin.set(token, pin);
    }

    /// The certificate of the device is in the file `path`, in PEM or DER. Where a URI leaves several keys, the one is
    /// taken that the certificate is for. The file is looked at each time, so that one that is replaced counts at once.
    pub fn configure_certificate(&self, path: Option<PathBuf>) {
        self.installed.set(path);
    }

    /// Another PIN was configured: where it is not the one that a token was opened with, the module is
    /// initialised anew to find out which is right. A module may keep to a PIN that another program has
    /// changed (SoftHSM2 does, until C_Initialize).
    pub fn pin_changed(&self) {
        self.recovery.note_pin_change();
    }

    /// Ends the use of the module (`C_Finalize`) for good: what begins afterwards never ends. Does nothing
    /// while some call does not return.
    pub fn finalize(&self) {
        self.recovery.finish(|| {
            for token in self.kept_tokens().values() {
                token.reset();
            }
            if let Err(error) = self.pkcs11.clone().finalize() {
                log::debug!("C_Finalize: {error}");
            }
        });
    }

    /// Runs `operation`, and again where [`Recovery::attempt`] knows that it helps.
    pub(crate) fn attempt<T>(&self, mut operation: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            let result = self.recovery.attempt(&|| self.start_over(), &mut operation);
            // Nearly always there is nothing, and no lock is taken.
            if self.unsettled.load(SeqCst) > 0 {
                match &result {
                    Err(error) if error.is_about_a_pin() => self.settle(TokenPins::settle),
                    _ => self.settle(TokenPins::settle_right_ones),
                }
            }
            if !matches!(result, Err(Error::Unsettled)) {
                return result;
            }
        }
    }

    /// Keeps and logs what was found out about callers' PINs, before they are told. No token is in use by this
    /// thread any more: it takes a while.
    fn settle(&self, settle: fn(&TokenPins)) {
        let pins: Vec<_> = lock(&self.pins).values().cloned().collect();
        for pins in pins {
            settle(&pins);
        }
    }

    /// Initialises the module anew.
    pub(crate) fn renew(&self) {
        self.recovery.renew(&|| self.start_over());
    }

    /// Drops all that is kept of tokens and keys.
    fn start_over(&self) {
        self.forget_keys();
        let tokens: Vec<_> = self.kept_tokens().values().cloned().collect();
        for token in tokens {
            token.start_over();
        }
    }

    pub(crate) fn installed(&self) -> &Installed {
        &self.installed
    }

    pub(crate) fn quirks(&self) -> Quirks {
        self.quirks
    }

    /// What [`tokens`](Self::tokens) returns.
    pub(crate) fn present(&self) -> Result<Vec<TokenInfo>> {
        let failed = |error| Error::from(CallError::new(error, &Uri::default()));
        let slots = self.pkcs11.get_slots_with_token().map_err(failed)?;
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
                Err(error) => return Err(failed(error)),
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

    /// Drops every kept key: their handles may now be those of other objects.
    pub(crate) fn forget_keys(&self) {
        self.kept_keys().clear();
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
            let token = Arc::new(Token::new(
                self.pkcs11.clone(),
                self.quirks,
                slot,
                info,
                pins,
            ));
            tokens.insert(slot.id(), token.clone());
            return Some(token);
        };
        drop(tokens);
        if *token.info() != info {
            token.replace(info, pins);
        }
        Some(token)
    }

    pub(crate) fn configured_pin(&self) -> &ConfiguredPin {
        &self.configured_pin
    }

    pub(crate) fn pins_of(&self, token: &TokenInfo) -> Arc<TokenPins> {
        let uri = token.uri.to_string();
        let mut pins = lock(&self.pins);
        if let Some(pins) = pins.get(&uri) {
            return pins.clone();
        }
        let new = Arc::new(TokenPins::new(
            &token.uri,
            self.configured_pin.clone(),
            self.kept_pins.get(),
            &self.unsettled,
        ));
        pins.insert(uri, new.clone());
        new
    }

    fn kept_tokens(&self) -> MutexGuard<'_, HashMap<u64, Arc<Token>>> {
        lock(&self.tokens)
    }

    pub(crate) fn kept_keys(&self) -> MutexGuard<'_, HashMap<String, Arc<Key>>> {
        lock(&self.keys)
    }
}

/// Whether the file is our own module for programs. One that can't be read is for the linker to complain of.
fn is_own(path: &Path) -> bool {
    let file = tedge_file::read(path, MAX_MODULE_LEN).unwrap_or_default();
    file.windows(MODULE_MARK.len())
        .any(|bytes| bytes == MODULE_MARK)
}

/// More than any module has, with all that is for debuggers in it.
const MAX_MODULE_LEN: usize = 64 << 20;
