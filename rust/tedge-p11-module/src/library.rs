//! What the functions of the standard do, on values: from C_Initialize to C_Finalize.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use tedge_p11_client::{Client, Pin, PrivateKey as _};
use tedge_p11_protocol::MODULE_MANUFACTURER;
use zeroize::Zeroizing;

use crate::attribute::{Class, Details, Value};
use crate::debug;
use crate::generate::NewKey;
use crate::mechanism::{self, How, Mechanism};
use crate::object::{Object, Objects};
use crate::rv::{Result, Rv};
use crate::session::{Session, Signing};
use crate::signer::{Signer, Wanted};
use crate::slot::{self, Login, Slot, padded};
use crate::template::Template;

/// The library of one process. Its locks are held for moments only, never during a request.
pub struct Library {
    signer: Signer,
    slots: Mutex<Slots>,
    sessions: Mutex<Sessions>,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Arc<Slot>>,
    since: Option<Instant>,
}

#[derive(Default)]
struct Sessions {
    last: CK_SESSION_HANDLE,
    open: HashMap<CK_SESSION_HANDLE, Arc<Session>>,
}

impl Library {
    /// Asks nobody anything yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            signer: Signer::new(client),
            slots: Mutex::default(),
            sessions: Mutex::default(),
            objects: Mutex::default(),
        }
    }

    /// Ends all sessions, and wipes the PINs.
    pub(crate) fn close(&self) {
        for slot in &lock(&self.slots).all {
            self.log_out(slot);
        }
        lock(&self.sessions).open.clear();
    }

    /// What C_GetSlotList returns. The signer is asked for its tokens when `anew`, as for the length of the
    /// list, and when it never was.
    pub(crate) fn slot_list(&self, with_token: bool, anew: bool) -> Vec<CK_SLOT_ID> {
        if anew || lock(&self.slots).since.is_none() {
            self.look_for_tokens();
        }
        let slots = lock(&self.slots);
        let listed = |slot: &&Arc<Slot>| !with_token || slot.is_present();
        slots
            .all
            .iter()
            .filter(listed)
            .map(|slot| slot.id)
            .collect()
    }

    pub(crate) fn slot_info(&self, id: CK_SLOT_ID) -> Result<CK_SLOT_INFO> {
        self.slot(id).map(|slot| slot.info())
    }

    pub(crate) fn token_info(&self, id: CK_SLOT_ID) -> Result<CK_TOKEN_INFO> {
        let slot = self.slot_with_token(id)?;
        let sessions = lock(&self.sessions);
        let of_slot = || sessions.open.values().filter(|s| s.slot.id == id);
        let rw = of_slot().filter(|session| session.rw).count();
        Ok(slot::token_info(&slot.token()?, of_slot().count(), rw))
    }

    pub(crate) fn mechanism_list(&self, id: CK_SLOT_ID) -> Result<Vec<CK_MECHANISM_TYPE>> {
        let token = self.slot_with_token(id)?.token()?;
        Ok(mechanism::list(token.digests))
    }

    pub(crate) fn mechanism_info(
        &self,
        id: CK_SLOT_ID,
        mechanism: CK_MECHANISM_TYPE,
    ) -> Result<CK_MECHANISM_INFO> {
        let token = self.slot_with_token(id)?.token()?;
        mechanism::info(mechanism, token.digests)
    }

    pub(crate) fn init_token(&self, id: CK_SLOT_ID, so_pin: &[u8], label: &[u8]) -> Result<()> {
        let slot = self.slot_with_token(id)?;
        let in_use = |session: &Arc<Session>| session.slot.id == id;
        if lock(&self.sessions).open.values().any(in_use) {
            return Err(Rv(CKR_SESSION_EXISTS));
        }
        let label = std::str::from_utf8(label).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?;
        let so_pin = pin(so_pin)?;
        self.signer
            .init_token(&slot.token()?, label.trim_end_matches(' '), &so_pin)?;
        self.look_for_tokens();
        Ok(())
    }

    pub(crate) fn open_session(
        &self,
        id: CK_SLOT_ID,
        flags: CK_FLAGS,
    ) -> Result<CK_SESSION_HANDLE> {
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(Rv(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        }
        let slot = self.slot_with_token(id)?;
        if !slot.token()?.entry.initialized {
            return Err(Rv(CKR_TOKEN_NOT_RECOGNIZED));
        }
        let rw = flags & CKF_RW_SESSION != 0;
        if !rw && matches!(slot.login(), Login::SecurityOfficer(_)) {
            return Err(Rv(CKR_SESSION_READ_WRITE_SO_EXISTS));
        }
        let mut sessions = lock(&self.sessions);
        if sessions.open.len() >= MAX_SESSIONS {
            return Err(Rv(CKR_SESSION_COUNT));
        }
        sessions.last += 1;
        let handle = sessions.last;
        sessions
            .open
            .insert(handle, Arc::new(Session::new(slot, rw)));
        Ok(handle)
    }

    pub(crate) fn close_session(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let mut sessions = lock(&self.sessions);
        let closed = sessions
            .open
            .remove(&handle)
            .ok_or(Rv(CKR_SESSION_HANDLE_INVALID))?;
        let slot = &closed.slot;
        if !sessions
            .open
            .values()
            .any(|session| session.slot.id == slot.id)
        {
            drop(sessions);
            self.log_out(slot);
        }
        Ok(())
    }

    pub(crate) fn close_all_sessions(&self, id: CK_SLOT_ID) -> Result<()> {
        let slot = self.slot(id)?;
        let mut sessions = lock(&self.sessions);
        sessions.open.retain(|_, session| session.slot.id != id);
        drop(sessions);
        self.log_out(&slot);
        Ok(())
    }

    pub(crate) fn session_info(&self, handle: CK_SESSION_HANDLE) -> Result<CK_SESSION_INFO> {
        self.session(handle).map(|session| session.info())
    }

    /// A PIN that the signer has itself is not even looked at. One that it has not is tried at once, by a
    /// list of the keys.
    pub(crate) fn login(
        &self,
        handle: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        given: &[u8],
    ) -> Result<()> {
        let session = self.session(handle)?;
        let slot = &session.slot;
        match (user, slot.login()) {
            (CKU_USER, Login::User(_)) | (CKU_SO, Login::SecurityOfficer(_)) => {
                return Err(Rv(CKR_USER_ALREADY_LOGGED_IN));
            }
            (CKU_USER, Login::SecurityOfficer(_)) | (CKU_SO, Login::User(_)) => {
                return Err(Rv(CKR_USER_ANOTHER_ALREADY_LOGGED_IN));
            }
            // The signer brings the PIN where a key wants it for each signature.
            (CKU_CONTEXT_SPECIFIC, _) if session.active().signing.is_some() => return Ok(()),
            (CKU_CONTEXT_SPECIFIC, _) => return Err(Rv(CKR_OPERATION_NOT_INITIALIZED)),
            (CKU_USER | CKU_SO, Login::Nobody) => {}
            _ => return Err(Rv(CKR_USER_TYPE_INVALID)),
        }
        if user == CKU_SO {
            let sessions = lock(&self.sessions);
            let reads_only = |s: &Arc<Session>| s.slot.id == slot.id && !s.rw;
            if sessions.open.values().any(reads_only) {
                return Err(Rv(CKR_SESSION_READ_ONLY_EXISTS));
            }
            drop(sessions);
            slot.set_login(Login::SecurityOfficer(pin(given)?));
            return Ok(());
        }
        let token = slot.token()?;
        if !token.needs_pin {
            slot.set_login(Login::User(None));
            return Ok(());
        }
        let pin = pin(given)?;
        let keys = Wanted {
            class: Some(Class::PrivateKey),
            ..Wanted::default()
        };
        self.signer.objects(&token, &keys, Some(&pin))?;
        slot.set_login(Login::User(Some(pin)));
        Ok(())
    }

    pub(crate) fn logout(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let session = self.session(handle)?;
        if session.slot.login() == Login::Nobody {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN));
        }
        self.log_out(&session.slot);
        Ok(())
    }

    pub(crate) fn init_pin(&self, handle: CK_SESSION_HANDLE, new: &[u8]) -> Result<()> {
        let session = self.session(handle)?;
        let Login::SecurityOfficer(so_pin) = session.slot.login() else {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN));
        };
        let token = session.slot.token()?;
        self.signer.reset_pin(&token, &so_pin, &pin(new)?)
    }

    pub(crate) fn set_pin(&self, handle: CK_SESSION_HANDLE, old: &[u8], new: &[u8]) -> Result<()> {
        let session = self.session(handle)?;
        session.need_rw()?;
        let (token, old, new) = (session.slot.token()?, pin(old)?, pin(new)?);
        match session.slot.login() {
            Login::SecurityOfficer(_) => {
                self.signer.change_so_pin(&token, &old, &new)?;
                session.slot.set_login(Login::SecurityOfficer(new));
            }
            login => {
                self.signer.change_pin(&token, &old, &new)?;
                if let Login::User(Some(_)) = login {
                    session.slot.set_login(Login::User(Some(new)));
                    lock(&self.objects).forget_details(session.slot.id);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn find_init(&self, handle: CK_SESSION_HANDLE, template: &Template) -> Result<()> {
        let session = self.session(handle)?;
        if session.active().found.is_some() {
            return Err(Rv(CKR_OPERATION_ACTIVE));
        }
        let found = self.find(&session.slot, template)?;
        let handles = found.iter().map(|object| object.handle).collect();
        session.active().found = Some(handles);
        Ok(())
    }

    /// The next handles, at most `max`.
    pub(crate) fn find_next(
        &self,
        handle: CK_SESSION_HANDLE,
        max: usize,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let session = self.session(handle)?;
        let mut active = session.active();
        let found = active.found.as_mut();
        let found = found.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        let len = max.min(found.len());
        Ok(found.drain(..len).collect())
    }

    pub(crate) fn find_final(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let session = self.session(handle)?;
        let found = session.active().found.take();
        found.map(|_| ()).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
    }

    /// The values of attributes, in their order.
    pub(crate) fn values(
        &self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: &[CK_ATTRIBUTE_TYPE],
    ) -> Result<Vec<Value>> {
        let session = self.session(handle)?;
        let object = self.object(&session, object, CKR_OBJECT_HANDLE_INVALID)?;
        let pin = session.slot.pin();
        object.values(attributes, &self.signer, pin.as_ref())
    }

    /// Whether the handle is one of an object.
    pub(crate) fn has_object(
        &self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let session = self.session(handle)?;
        self.object(&session, object, CKR_OBJECT_HANDLE_INVALID)
            .map(|_| ())
    }

    pub(crate) fn destroy(
        &self,
        handle: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let session = self.session(handle)?;
        let object = self.object(&session, object, CKR_OBJECT_HANDLE_INVALID)?;
        session.need_rw()?;
        if object.listed.class == Class::Certificate {
            return Err(Rv(CKR_ACTION_PROHIBITED));
        }
        let pin = session.slot.pin();
        self.signer.delete_key(&object.listed.uri, pin.as_ref())?;
        lock(&self.objects).remove(object.handle);
        Ok(())
    }

    pub(crate) fn sign_init(
        &self,
        handle: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let session = self.session(handle)?;
        if session.active().signing.is_some() {
            return Err(Rv(CKR_OPERATION_ACTIVE));
        }
        let object = self.object(&session, key, CKR_KEY_HANDLE_INVALID)?;
        match object.listed.class {
            Class::PrivateKey => {}
            Class::PublicKey => return Err(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED)),
            Class::Certificate => return Err(Rv(CKR_KEY_HANDLE_INVALID)),
        }
        let how = mechanism.how(object.listed.key_type)?;
        let pin = session.slot.pin();
        let (key, details) = object.key(&self.signer, pin.as_ref())?;
        let Details::Key(details) = &*details else {
            return Err(Rv(CKR_KEY_HANDLE_INVALID));
        };
        let can = match how {
            // Otherwise it is another curve than the one that TLS has for the hash, or the token lacks it.
            How::Message(scheme) => key.schemes().contains(&scheme),
            _ if key.signs_digests() => true,
            _ => {
                debug::log(format_args!(
                    "{}: the mechanism signs a digest, which takes a rule with the purpose digest",
                    object.listed.uri
                ));
                false
            }
        };
        if !can {
            return Err(Rv(CKR_MECHANISM_INVALID));
        }
        session.active().signing = Some(Signing {
            len: details.numbers.signature_len(),
            is_ecdsa: object.listed.key_type == CKK_EC,
            object,
            key,
            how,
            message: Zeroizing::default(),
            in_parts: false,
        });
        Ok(())
    }

    /// Ends a signature that is under way, without one.
    pub(crate) fn sign_cancel(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        self.session(handle)?.active().signing = None;
        Ok(())
    }

    /// Bytes of the signature that is under way. A C_Sign that wants them leaves it so.
    pub(crate) fn signature_len(&self, handle: CK_SESSION_HANDLE, at_once: bool) -> Result<usize> {
        let session = self.session(handle)?;
        let active = session.active();
        let signing = active.signing.as_ref();
        let signing = signing.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        if at_once && signing.in_parts {
            return Err(Rv(CKR_OPERATION_ACTIVE));
        }
        Ok(signing.len)
    }

    pub(crate) fn sign_update(&self, handle: CK_SESSION_HANDLE, part: &[u8]) -> Result<()> {
        let session = self.session(handle)?;
        let mut active = session.active();
        let signing = active.signing.as_mut();
        let result = signing.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?.add(part);
        if result.is_err() {
            active.signing = None;
        }
        result
    }

    /// Signs `message`, or what C_SignUpdate has brought; with that the operation ends.
    pub(crate) fn sign(
        &self,
        handle: CK_SESSION_HANDLE,
        message: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let session = self.session(handle)?;
        let signing = session.active().signing.take();
        let signing = signing.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        signing.sign(message.unwrap_or(&signing.message))
    }

    /// What C_SessionCancel ends.
    pub(crate) fn cancel(&self, handle: CK_SESSION_HANDLE, flags: CK_FLAGS) -> Result<()> {
        let session = self.session(handle)?;
        let mut active = session.active();
        if flags & CKF_SIGN != 0 {
            active.signing = None;
        }
        if flags & CKF_FIND_OBJECTS != 0 {
            active.found = None;
        }
        Ok(())
    }

    /// Handles of the public and the private key.
    pub(crate) fn generate_key_pair(
        &self,
        handle: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        public: &Template,
        private: &Template,
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let session = self.session(handle)?;
        let new = NewKey::of(mechanism.makes()?, public, private)?;
        session.need_rw()?;
        let (token, pin) = (session.slot.token()?, session.slot.pin());
        let uri = self.signer.create_key(
            &token,
            pin.as_ref(),
            new.spec,
            &new.label,
            new.id.as_deref(),
        )?;
        let made = Wanted::named(uri);
        let found = self.signer.objects(&token, &made, pin.as_ref())?;
        let mut objects = lock(&self.objects);
        let mut put = |class| -> Result<_> {
            let mut found = found.iter();
            let listed = found.find(|listed| listed.class == class);
            let listed = listed.ok_or(Rv(CKR_DEVICE_ERROR))?;
            let object = objects.put(session.slot.id, listed.clone());
            object.forget();
            Ok(object.handle)
        };
        Ok((put(Class::PublicKey)?, put(Class::PrivateKey)?))
    }

    /// Whether the session is open.
    pub(crate) fn has_session(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        self.session(handle).map(|_| ())
    }

    /// The objects of a slot that fit the template, each with its handle.
    fn find(&self, slot: &Slot, template: &Template) -> Result<Vec<Arc<Object>>> {
        let Some(wanted) = wanted(template)? else {
            return Ok(Vec::new());
        };
        let (token, pin) = (slot.token()?, slot.pin());
        let listed = self.signer.objects(&token, &wanted, pin.as_ref())?;
        let hidden = token.needs_pin && !matches!(slot.login(), Login::User(_));
        let listed = listed
            .into_iter()
            .filter(|listed| !(hidden && listed.private));
        let all: Vec<_> = {
            let mut objects = lock(&self.objects);
            listed.map(|listed| objects.put(slot.id, listed)).collect()
        };
        let mut found = Vec::new();
        for object in all {
            match object.matches(template, &self.signer, pin.as_ref()) {
                Ok(true) => found.push(object),
                Err(rv @ Rv(CKR_DEVICE_ERROR)) => return Err(rv),
                // One that went away just now, or that nobody can read, hides no other.
                Ok(false) | Err(_) => {}
            }
        }
        Ok(found)
    }

    fn look_for_tokens(&self) {
        let tokens = self.signer.tokens();
        let mut slots = lock(&self.slots);
        slot::update(&mut slots.all, tokens);
        slots.since = Some(Instant::now());
    }

    fn slot(&self, id: CK_SLOT_ID) -> Result<Arc<Slot>> {
        if lock(&self.slots).since.is_none() {
            self.look_for_tokens();
        }
        let slots = lock(&self.slots);
        let mut all = slots.all.iter();
        all.find(|slot| slot.id == id)
            .cloned()
            .ok_or(Rv(CKR_SLOT_ID_INVALID))
    }

    /// The signer may have come, or a token may have been put in, since it was asked.
    fn slot_with_token(&self, id: CK_SLOT_ID) -> Result<Arc<Slot>> {
        let slot = self.slot(id)?;
        let since = lock(&self.slots).since;
        if !slot.is_present() && since.is_none_or(|since| since.elapsed() > LOOK_AGAIN) {
            self.look_for_tokens();
        }
        slot.token().map(|_| slot)
    }

    fn session(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        let sessions = lock(&self.sessions);
        let session = sessions.open.get(&handle).cloned();
        session.ok_or(Rv(CKR_SESSION_HANDLE_INVALID))
    }

    /// An object that the session may see; `otherwise` is what a wrong handle is called.
    fn object(
        &self,
        session: &Session,
        handle: CK_OBJECT_HANDLE,
        otherwise: CK_RV,
    ) -> Result<Arc<Object>> {
        let object = lock(&self.objects).get(handle).ok_or(Rv(otherwise))?;
        let hidden = object.listed.private && !matches!(session.slot.login(), Login::User(_));
        if object.slot != session.slot.id || hidden {
            return Err(Rv(otherwise));
        }
        Ok(object)
    }

    fn log_out(&self, slot: &Slot) {
        slot.set_login(Login::Nobody);
        lock(&self.objects).forget_details(slot.id);
    }
}

/// What C_GetInfo returns, for an interface of this version.
pub(crate) fn info(cryptoki: CK_VERSION) -> CK_INFO {
    CK_INFO {
        cryptokiVersion: cryptoki,
        manufacturerID: padded(MODULE_MANUFACTURER),
        flags: 0,
        libraryDescription: padded("Keys behind tedge-p11-server"),
        libraryVersion: CK_VERSION { major: 0, minor: 1 },
    }
}

/// What a search asks the signer for; none if no object can fit.
fn wanted(template: &Template) -> Result<Option<Wanted>> {
    let class = match template.number(CKA_CLASS)? {
        None => None,
        Some(CKO_PRIVATE_KEY) => Some(Class::PrivateKey),
        Some(CKO_PUBLIC_KEY) => Some(Class::PublicKey),
        Some(CKO_CERTIFICATE) => Some(Class::Certificate),
        Some(_) => return Ok(None),
    };
    // There are no objects of a session.
    if template.flag(CKA_TOKEN)? == Some(false) {
        return Ok(None);
    }
    let label = template.get(CKA_LABEL).map(std::str::from_utf8);
    let Ok(label) = label.transpose() else {
        return Ok(None);
    };
    let some = |value: &&[u8]| !value.is_empty();
    Ok(Some(Wanted {
        class,
        id: template.get(CKA_ID).filter(some).map(<[u8]>::to_vec),
        label: label.filter(|label| !label.is_empty()).map(str::to_owned),
    }))
}

fn pin(bytes: &[u8]) -> Result<Pin> {
    if bytes.len() > slot::MAX_PIN_LEN {
        return Err(Rv(CKR_PIN_LEN_RANGE));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Rv(CKR_PIN_INVALID))?;
    Pin::new(text.to_owned()).map_err(|_| Rv(CKR_PIN_LEN_RANGE))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_SESSIONS: usize = 65_536;
/// Before the signer is asked again for a token that was not there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
