//! One call of a host: what is to be done with it, and that it is logged.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cryptoki_sys::{
    CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CKR_DEVICE_REMOVED, CKR_SESSION_HANDLE_INVALID,
    CKR_TOKEN_NOT_PRESENT,
};

use crate::control::{self, Action, Control};
use crate::give_up;
use crate::log::{self, Running};
use crate::state::{self, Session};
use crate::wrap::Function;

/// What a function is called on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    Session(CK_SESSION_HANDLE),
    Slot(CK_SLOT_ID),
    Nothing,
}

/// A call that is being made.
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) subject: Subject,
    pub(crate) slot: Option<CK_SLOT_ID>,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) control: Arc<Control>,
    /// What to return without passing the call on.
    pub(crate) injected: Option<CK_RV>,
    /// It ended a rule.
    pub(crate) lifted: bool,
    pub(crate) begun: Option<Instant>,
    session: Option<Arc<Session>>,
    _running: Option<Running>,
}

impl Call {
    /// Waits, or ends the process, if the control file wants it.
    pub(crate) fn begin(function: Function, subject: Subject) -> Self {
        let begun = log::is_on().then(Instant::now);
        let control = control::current();
        let (session, slot, label) = match subject {
            Subject::Session(handle) => {
                let session = state::session(handle);
                let of = session.as_ref();
                let (slot, label) = (of.map(|s| s.slot), of.and_then(|s| s.label.clone()));
                (session, slot, label)
            }
            Subject::Slot(slot) => {
                let needed = begun.is_some() || control.needs_labels();
                let label = needed.then(|| state::label(slot)).flatten();
                (None, Some(slot), label)
            }
            Subject::Nothing => (None, None, None),
        };
        let running = Running::enter(function, slot, label.as_deref());
        let mut call = Self {
            function,
            subject,
            slot,
            label,
            control,
            injected: None,
            lifted: false,
            begun,
            session,
            _running: running,
        };
        call.lifted = call.control.lift(function, call.label.as_deref());
        call.injected = call.decide();
        call
    }

    /// Ends a call whose work is `pass_on`, unless something else is to be returned.
    pub(crate) fn end_with(self, pass_on: impl FnOnce() -> CK_RV) -> CK_RV {
        let rv = self.injected.unwrap_or_else(pass_on);
        self.end(rv)
    }

    pub(crate) fn end(self, rv: CK_RV) -> CK_RV {
        if self.injected.is_none() {
            if let Some(session) = &self.session {
                session.leave();
            }
        }
        log::call(&self, rv);
        rv
    }

    /// Does something in the session of a call that is not passed on, unless it is dead.
    pub(crate) fn if_alive(&self, action: impl FnOnce()) {
        if let Some(session) = self.session.as_ref().filter(|session| session.enter()) {
            action();
            session.leave();
        }
    }

    fn decide(&mut self) -> Option<CK_RV> {
        loop {
            if let Some(rv) = self.gone() {
                return Some(rv);
            }
            match self.control.decide(self.function, self.label.as_deref()) {
                Some(Action::Return(rv)) => return Some(rv),
                Some(Action::Crash) => give_up(&format!("{} crash", self.function.name())),
                Some(Action::Hang) => {
                    while Arc::ptr_eq(&self.control, &control::current()) {
                        sleep(Duration::from_millis(5));
                    }
                    self.control = control::current();
                    continue;
                }
                Some(Action::Delay(delay)) => sleep(delay),
                None => {}
            }
            // What happened during the delay counts.
            self.control = control::current();
            return match &self.session {
                Some(session) if !session.enter() => self.gone(),
                _ => None,
            };
        }
    }

    /// What to return because the token or the session is not there.
    fn gone(&self) -> Option<CK_RV> {
        let label = self.label.as_deref();
        let absent = label.is_some_and(|label| self.control.is_absent(label));
        match self.subject {
            Subject::Slot(_) if absent && self.function != Function::C_GetSlotInfo => {
                Some(CKR_TOKEN_NOT_PRESENT)
            }
            Subject::Session(_) => {
                let session = self.session.as_ref()?;
                if absent {
                    session.die();
                    return Some(CKR_DEVICE_REMOVED);
                }
                session.is_dead().then_some(CKR_SESSION_HANDLE_INVALID)
            }
            _ => None,
        }
    }
}
