//! What is open on a token: its login and its sessions.

use std::sync::{Mutex, PoisonError};

use cryptoki::session::{Session, SessionState};
use tedge_p11_protocol::Pin;

use crate::code::Code;
use crate::error::{Error, Result};
use crate::lock::lock;

/// What is open on a token.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Stays open, and with it the login and the handles: a token logs out when its last session
    /// is closed (PKCS#11 3.0, section 5.6.8). Nobody locks it: a session is not for two threads. Where the token has no
    /// other session, it is used by one who has the gate alone.
    pub(super) anchor: Option<Mutex<Session>>,
    /// The PIN that the token was opened with.
    pub(super) pin: Option<Pin>,
    /// Whether the anchor says that it is logged in.
    pub(super) logged_in: bool,
    /// Sessions that no operation is using.
    pub(super) idle: Mutex<Vec<Session>>,
    /// Sessions to be closed when nobody else uses the token.
    pub(super) spent: Mutex<Vec<Session>>,
    /// Counts resets: a handle is good for the generation that it was found in.
    pub(super) generation: u64,
}

/// Keeps a session for the next operation, unless a PKCS#11 call failed in it.
pub(super) fn keep<T>(open: &Open, session: Session, result: &Result<T>) {
    if matches!(result, Err(Error::Pkcs11 { .. })) {
        lock(&open.spent).push(session);
    } else {
        lock(&open.idle).push(session);
    }
}

/// Whether a token gives no more sessions than those that are open on it. A secure element may have one alone
/// (`ulMaxSessionCount`).
pub(super) fn is_out_of_sessions(error: &Error, open: &Open) -> bool {
    error.code() == Some(Code::SESSION_COUNT) && open.anchor.is_some()
}

/// Runs `operation` in the session that stays open, while nobody else uses the token; fails with `error` if there is none.
pub(super) fn on_anchor<T>(
    open: &mut Open,
    error: Error,
    operation: impl FnOnce(&Session) -> Result<T>,
) -> Result<T> {
    let Some(anchor) = &mut open.anchor else {
        return Err(error);
    };
    let session = anchor.get_mut().unwrap_or_else(PoisonError::into_inner);
    let result = operation(session);
    if matches!(result, Err(Error::Pkcs11 { .. })) {
        // Something may go on in it.
        reset(open);
    }
    result
}

pub(super) fn reset(open: &mut Open) {
    *open = Open {
        generation: open.generation + 1,
        ..Open::default()
    };
}

pub(super) fn is_logged_in(session: &Session) -> cryptoki::error::Result<bool> {
    let state = session.get_session_info()?.session_state();
    Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
}
