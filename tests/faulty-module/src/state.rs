//! What is known of the host's sessions and of the tokens in the slots.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::sleep;
use std::time::Duration;

use cryptoki_sys::{CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CKR_OK};

use crate::control::Control;
use crate::wrap::REAL;

/// A session that the host opened.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) label: Option<Arc<str>>,
    /// Lost, but still open in the wrapped module.
    dead: AtomicBool,
    /// Calls that the wrapped module is doing in it.
    busy: AtomicUsize,
}

impl Session {
    /// A call is to be passed on; not if the session is dead.
    pub(crate) fn enter(&self) -> bool {
        self.busy.fetch_add(1, SeqCst);
        let alive = !self.is_dead();
        if !alive {
            self.leave();
        }
        alive
    }

    pub(crate) fn leave(&self) {
        self.busy.fetch_sub(1, SeqCst);
    }

    pub(crate) fn die(&self) {
        self.dead.store(true, SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(SeqCst)
    }
}

static SESSIONS: LazyLock<RwLock<HashMap<CK_SESSION_HANDLE, Arc<Session>>>> =
    LazyLock::new(RwLock::default);
static LABELS: LazyLock<Mutex<HashMap<CK_SLOT_ID, Arc<str>>>> = LazyLock::new(Mutex::default);

pub(crate) fn session(handle: CK_SESSION_HANDLE) -> Option<Arc<Session>> {
    let sessions = SESSIONS.read().unwrap_or_else(PoisonError::into_inner);
    sessions.get(&handle).cloned()
}

pub(crate) fn opened(handle: CK_SESSION_HANDLE, slot: CK_SLOT_ID) {
    let session = Arc::new(Session {
        slot,
        label: label(slot),
        dead: AtomicBool::new(false),
        busy: AtomicUsize::new(0),
    });
    let mut sessions = SESSIONS.write().unwrap_or_else(PoisonError::into_inner);
    sessions.insert(handle, session);
}

/// How many sessions are open in a slot.
pub(crate) fn count(slot: CK_SLOT_ID) -> usize {
    let sessions = SESSIONS.read().unwrap_or_else(PoisonError::into_inner);
    sessions
        .values()
        .filter(|session| session.slot == slot)
        .count()
}

/// Forgets the sessions that `closed` says of.
pub(crate) fn closed(closed: impl Fn(CK_SESSION_HANDLE, &Session) -> bool) {
    let mut sessions = SESSIONS.write().unwrap_or_else(PoisonError::into_inner);
    sessions.retain(|handle, session| !closed(*handle, session));
}

/// Ends the sessions on tokens that are gone or that lose them.
pub(crate) fn end_sessions(control: &Control) {
    let lost = |label: Option<&str>| {
        control
            .lost
            .iter()
            .any(|lost| lost.is_none() || lost.as_deref() == label)
            || label.is_some_and(|label| control.is_absent(label))
    };
    let sessions = SESSIONS.read().unwrap_or_else(PoisonError::into_inner);
    sessions
        .values()
        .filter(|session| lost(session.label.as_deref()))
        .for_each(|session| session.die());
}

/// Closes the dead sessions of a slot in the wrapped module too, so that it has no login left.
pub(crate) fn bury(slot: CK_SLOT_ID) {
    let dead = |session: &Session| session.slot == slot && session.is_dead();
    let found: Vec<_> = SESSIONS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter(|(_, session)| dead(session))
        .map(|(handle, session)| (*handle, session.clone()))
        .collect();
    for (handle, session) in &found {
        while session.busy.load(SeqCst) > 0 {
            sleep(Duration::from_millis(1));
        }
        if let Some(close) = REAL.C_CloseSession {
            // SAFETY: it takes any number; what it returns does not matter.
            unsafe { close(*handle) };
        }
    }
    if !found.is_empty() {
        closed(|handle, _| found.iter().any(|(dead, _)| *dead == handle));
    }
}

/// The label of the token in a slot, which the wrapped module is asked for once.
pub(crate) fn label(slot: CK_SLOT_ID) -> Option<Arc<str>> {
    if let Some(label) = labels().get(&slot) {
        return Some(label.clone());
    }
    let mut info = CK_TOKEN_INFO::default();
    // SAFETY: the second argument is a structure of the right type.
    let rv = unsafe { REAL.C_GetTokenInfo?(slot, &raw mut info) };
    (rv == CKR_OK).then(|| learn(slot, &info))
}

/// Takes the label out of what a token says of itself.
pub(crate) fn learn(slot: CK_SLOT_ID, info: &CK_TOKEN_INFO) -> Arc<str> {
    let label = String::from_utf8_lossy(&info.label);
    let label = label.trim_end_matches([' ', '\0']);
    let mut labels = labels();
    match labels.get(&slot).filter(|known| ***known == *label) {
        Some(known) => known.clone(),
        None => {
            let label: Arc<str> = label.into();
            labels.insert(slot, label.clone());
            label
        }
    }
}

pub(crate) fn forget_labels() {
    labels().clear();
}

fn labels() -> MutexGuard<'static, HashMap<CK_SLOT_ID, Arc<str>>> {
    LABELS.lock().unwrap_or_else(PoisonError::into_inner)
}
