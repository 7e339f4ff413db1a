//! The functions that have more to do than to be passed on.

#![allow(non_snake_case)]

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use cryptoki_sys::*;

use crate::call::{Call, Subject};
use crate::control::Element;
use crate::state;
use crate::wrap::{Function, REAL};

/// Calls a function of the wrapped module.
macro_rules! real {
    ($name:ident($($arg:expr),*)) => {
        match REAL.$name {
            // SAFETY: the arguments are the caller's, who answers for them, or made here to fit.
            Some(function) => unsafe { function($($arg),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

pub(crate) unsafe extern "C" fn C_Initialize(args: *mut c_void) -> CK_RV {
    let call = Call::begin(Function::C_Initialize, Subject::Nothing);
    let lifted = call.lifted;
    call.end_with(|| {
        let rv = real!(C_Initialize(args));
        // A module that says that it is not initialised is so.
        if lifted && rv == CKR_CRYPTOKI_ALREADY_INITIALIZED {
            forget_all();
            real!(C_Finalize(std::ptr::null_mut()));
            return real!(C_Initialize(args));
        }
        rv
    })
}

pub(crate) unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    FINALIZING.store(true, Relaxed);
    let rv = finalize(reserved);
    FINALIZING.store(false, Relaxed);
    rv
}

fn finalize(reserved: *mut c_void) -> CK_RV {
    Call::begin(Function::C_Finalize, Subject::Nothing).end_with(|| {
        let rv = real!(C_Finalize(reserved));
        if rv == CKR_OK {
            forget_all();
        }
        rv
    })
}

/// C_Finalize has begun, and not ended.
static FINALIZING: AtomicBool = AtomicBool::new(false);

/// As SoftHSM2's destructors do, the end of the process waits for a call that goes on.
extern "C" fn wait_at_exit() {
    while FINALIZING.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

// SAFETY: the loader runs what is in this section when the library goes, without arguments.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = wait_at_exit;

fn forget_all() {
    state::closed(|_, _| true);
    state::forget_labels();
}

pub(crate) unsafe extern "C" fn C_GetSlotList(
    present: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    let call = Call::begin(Function::C_GetSlotList, Subject::Nothing);
    let control = call.control.clone();
    call.end_with(|| {
        if !control.hides_tokens() || count.is_null() {
            return real!(C_GetSlotList(present, slots, count));
        }
        let mut len = 0;
        let rv = real!(C_GetSlotList(present, std::ptr::null_mut(), &raw mut len));
        let mut all = vec![0; len as usize];
        let rv = match rv {
            CKR_OK => real!(C_GetSlotList(present, all.as_mut_ptr(), &raw mut len)),
            rv => rv,
        };
        if rv != CKR_OK {
            return rv;
        }
        all.truncate(len as usize);
        all.retain(|slot| !state::label(*slot).is_some_and(|label| control.is_absent(&label)));
        // SAFETY: the caller's count says how much the caller's slots hold.
        unsafe {
            let room = std::mem::replace(&mut *count, all.len() as CK_ULONG);
            if slots.is_null() {
                return CKR_OK;
            }
            if room < *count {
                return CKR_BUFFER_TOO_SMALL;
            }
            slots.copy_from_nonoverlapping(all.as_ptr(), all.len());
        }
        CKR_OK
    })
}

pub(crate) unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    let call = Call::begin(Function::C_GetSlotInfo, Subject::Slot(slot));
    let label = call.label.as_deref();
    let absent = label.is_some_and(|label| call.control.is_absent(label));
    call.end_with(|| {
        let rv = real!(C_GetSlotInfo(slot, info));
        if rv == CKR_OK && absent {
            // SAFETY: the wrapped module has just filled it.
            unsafe { (*info).flags &= !CKF_TOKEN_PRESENT };
        }
        rv
    })
}

/// SoftHSM2 never locks a token. This module is one that nobody knows, and whose tokens may be locked.
pub(crate) unsafe extern "C" fn C_GetInfo(info: *mut CK_INFO) -> CK_RV {
    Call::begin(Function::C_GetInfo, Subject::Nothing).end_with(|| {
        let rv = real!(C_GetInfo(info));
        if rv == CKR_OK {
            // SAFETY: the wrapped module has just filled it.
            let maker = unsafe { &mut (*info).manufacturerID };
            if maker.starts_with(b"SoftHSM ") {
                maker[..7].copy_from_slice(b"faulty ");
            }
        }
        rv
    })
}

pub(crate) unsafe extern "C" fn C_GetTokenInfo(
    slot: CK_SLOT_ID,
    info: *mut CK_TOKEN_INFO,
) -> CK_RV {
    let call = Call::begin(Function::C_GetTokenInfo, Subject::Slot(slot));
    let control = call.control.clone();
    call.end_with(|| {
        let rv = real!(C_GetTokenInfo(slot, info));
        if rv == CKR_OK {
            // SAFETY: the wrapped module has just filled it.
            let info = unsafe { &mut *info };
            let label = state::learn(slot, info);
            info.flags = control.flags(&label, info.flags);
            for element in control.elements(Some(&label)) {
                if let Element::Sessions(most) = element {
                    info.ulMaxSessionCount = *most as CK_ULONG;
                    info.ulMaxRwSessionCount = *most as CK_ULONG;
                }
            }
        }
        rv
    })
}

pub(crate) unsafe extern "C" fn C_InitToken(
    slot: CK_SLOT_ID,
    pin: *mut CK_BYTE,
    pin_len: CK_ULONG,
    label: *mut CK_BYTE,
) -> CK_RV {
    Call::begin(Function::C_InitToken, Subject::Slot(slot)).end_with(|| {
        let rv = real!(C_InitToken(slot, pin, pin_len, label));
        state::forget_labels();
        rv
    })
}

pub(crate) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let call = Call::begin(Function::C_OpenSession, Subject::Slot(slot));
    let (control, label) = (call.control.clone(), call.label.clone());
    call.end_with(|| {
        state::bury(slot);
        let elements = || control.elements(label.as_deref());
        for element in elements() {
            match element {
                Element::Sessions(most) if state::count(slot) as u64 >= *most => {
                    return CKR_SESSION_COUNT;
                }
                Element::ReadOnly if flags & CKF_RW_SESSION != 0 => {
                    return CKR_TOKEN_WRITE_PROTECTED;
                }
                _ => {}
            }
        }
        let rv = real!(C_OpenSession(slot, flags, application, notify, session));
        if rv == CKR_OK {
            // SAFETY: the wrapped module has just filled it.
            let session = unsafe { *session };
            state::opened(session, slot);
            for element in elements() {
                if let Element::WithoutLogin(pin) = element {
                    let len = pin.len() as CK_ULONG;
                    let pin = pin.as_ptr().cast_mut();
                    real!(C_Login(session, CKU_USER, pin, len));
                }
            }
        }
        rv
    })
}

/// As modules do that look for the curve where the standard does not have it (PKCS#11 2.40, section 2.3.3: it is in the
/// public key's template only).
pub(crate) unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_len: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_len: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = Call::begin(Function::C_GenerateKeyPair, Subject::Session(session));
    let (control, label) = (call.control.clone(), call.label.clone());
    call.end_with(|| {
        let mut elements = control.elements(label.as_deref());
        if !elements.any(|element| *element == Element::CurveInPrivate) {
            return real!(C_GenerateKeyPair(
                session,
                mechanism,
                public,
                public_len,
                private,
                private_len,
                public_key,
                private_key
            ));
        }
        // SAFETY: the caller says how many there are.
        let given = unsafe { std::slice::from_raw_parts(private, private_len as usize) };
        let is_curve = |attribute: &&CK_ATTRIBUTE| attribute.type_ == CKA_EC_PARAMS;
        if !given.iter().any(|attribute| is_curve(&attribute)) {
            return CKR_TEMPLATE_INCOMPLETE;
        }
        let rest = given.iter().filter(|attribute| !is_curve(attribute));
        let mut rest: Vec<CK_ATTRIBUTE> = rest.copied().collect();
        let len = rest.len() as CK_ULONG;
        real!(C_GenerateKeyPair(
            session,
            mechanism,
            public,
            public_len,
            rest.as_mut_ptr(),
            len,
            public_key,
            private_key
        ))
    })
}

pub(crate) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    Call::begin(Function::C_CloseSession, Subject::Session(session)).end_with(|| {
        // Before, since the wrapped module may give the number to somebody else at once.
        state::closed(|handle, _| handle == session);
        real!(C_CloseSession(session))
    })
}

pub(crate) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    Call::begin(Function::C_CloseAllSessions, Subject::Slot(slot)).end_with(|| {
        state::closed(|_, session| session.slot == slot);
        real!(C_CloseAllSessions(slot))
    })
}

pub(crate) unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    len: CK_ULONG,
    out: *mut CK_BYTE,
    out_len: *mut CK_ULONG,
) -> CK_RV {
    let call = Call::begin(Function::C_Sign, Subject::Session(session));
    let failed = |rv| rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL;
    if call.injected.is_some_and(failed) {
        // A failure ends the operation (PKCS#11 2.40, section 5.11), so it has to be ended in the
        // wrapped module. The signature goes nowhere.
        call.if_alive(|| {
            let mut scratch = [0; 2048];
            let mut room = scratch.len() as CK_ULONG;
            real!(C_Sign(
                session,
                data,
                len,
                scratch.as_mut_ptr(),
                &raw mut room
            ));
        });
    }
    call.end_with(|| real!(C_Sign(session, data, len, out, out_len)))
}
