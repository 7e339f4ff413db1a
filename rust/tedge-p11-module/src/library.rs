//! What the functions of the standard do, on values, from C_Initialize to C_Finalize: the slots and sessions
//! here; `login` has PINs, `objects` searches and keys, `signing` signatures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use tedge_p11_client::Client;
use tedge_p11_protocol::MODULE_MANUFACTURER;

use crate::mechanism;
use crate::object::{Object, Objects};
use crate::rv::{Result, Rv};
use crate::session::Session;
use crate::signer::{Signer, Token};
use crate::slot::{self, Login, Slot, padded};

mod login;
mod objects;
mod signing;

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

    /// Whether the session is open.
    pub(crate) fn has_session(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        self.session(handle).map(|_| ())
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
        if !slot.is_present() {
            self.look_again();
        }
        let is_present = slot.is_present().then_some(slot);
        is_present.ok_or(Rv(CKR_TOKEN_NOT_PRESENT))
    }

    /// The token of an open session, which may have been put in again.
    fn token(&self, slot: &Slot) -> Result<Token> {
        slot.token().or_else(|_| {
            self.look_again();
            slot.token()
        })
    }

    fn look_again(&self) {
        let since = lock(&self.slots).since;
        if since.is_none_or(|since| since.elapsed() > LOOK_AGAIN) {
            self.look_for_tokens();
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_SESSIONS: usize = 65_536;
/// Before the signer is asked again for a token that was not there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
