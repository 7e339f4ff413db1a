//! The functions that do something. Each has the arguments of pkcs11.h, in its order.

use std::ffi::{c_uchar, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;

use cryptoki_sys::*;
use tedge_p11_client::{Client, DEFAULT_SOCKET_PATH};

use super::environment::{self, text};
use super::memory::{
    bytes, initialize_args, mechanism, message, template, types, write, write_list, write_values,
};
use super::standard_error;
use crate::debug;
use crate::library::{self, Library};
use crate::process::{self, library};
use crate::refusal;
use crate::rv::{Result, Rv};

/// Runs one function: no panic gets past here, and takes the program with it.
pub(super) fn run(function: impl FnOnce() -> Result<()>) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(code))) => code,
        Err(panic) => {
            // What was panicked with could panic when it is dropped.
            std::mem::forget(panic);
            CKR_GENERAL_ERROR
        }
    }
}

/// Defines functions: their safe body gets the arguments, and has `unsafe` where it reads or writes a
/// pointer among them.
macro_rules! functions {
    ($($name:ident($($arg:ident: $type:ty),*) $body:block)*) => {
        $(
            /// As pkcs11.h has it.
            ///
            /// # Safety
            ///
            /// What the module's documentation says that a program promises.
            pub(super) unsafe extern "C" fn $name($($arg: $type),*) -> CK_RV {
                run(|| $body)
            }
        )*
    };
}

type Session = CK_SESSION_HANDLE;
type Slot = CK_SLOT_ID;
type Object = CK_OBJECT_HANDLE;
type Len = CK_ULONG;

functions! {
    C_Initialize(args: *mut c_void) {
        // SAFETY: the program's promise.
        unsafe { initialize_args(args) }?;
        prepare();
        let socket = environment::variable("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH");
        let socket = socket.filter(|path| !path.is_empty());
        let socket = socket.map_or_else(|| DEFAULT_SOCKET_PATH.into(), PathBuf::from);
        process::initialize(Library::new(Client::new(socket)))
    }

    C_Finalize(reserved: *mut c_void) {
        if !reserved.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        process::finalize()
    }

    // Of the interface of version 2.40.
    C_GetInfo_2(info: *mut CK_INFO) {
        library()?;
        // SAFETY: the program's promise.
        unsafe { write(library::info(super::version::VERSION_2), info) }
    }

    // Of the interface of version 3.0.
    C_GetInfo_3(info: *mut CK_INFO) {
        library()?;
        // SAFETY: the program's promise.
        unsafe { write(library::info(super::version::VERSION_3), info) }
    }

    C_GetSlotList(with_token: CK_BBOOL, slots: *mut Slot, count: *mut Len) {
        let list = library()?.slot_list(with_token != CK_FALSE, slots.is_null());
        // SAFETY: the program's promise.
        unsafe { write_list(&list, slots, count) }
    }

    C_GetSlotInfo(slot: Slot, info: *mut CK_SLOT_INFO) {
        let known = library()?.slot_info(slot)?;
        // SAFETY: the program's promise.
        unsafe { write(known, info) }
    }

    C_GetTokenInfo(slot: Slot, info: *mut CK_TOKEN_INFO) {
        let known = library()?.token_info(slot)?;
        // SAFETY: the program's promise.
        unsafe { write(known, info) }
    }

    C_GetMechanismList(slot: Slot, list: *mut CK_MECHANISM_TYPE, count: *mut Len) {
        let known = library()?.mechanism_list(slot)?;
        // SAFETY: the program's promise.
        unsafe { write_list(&known, list, count) }
    }

    C_GetMechanismInfo(slot: Slot, id: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO) {
        let known = library()?.mechanism_info(slot, id)?;
        // SAFETY: the program's promise.
        unsafe { write(known, info) }
    }

    C_InitToken(slot: Slot, pin: *mut c_uchar, pin_len: Len, label: *mut c_uchar) {
        // SAFETY: the program's promise; the label has 32 bytes.
        let (pin, label) = unsafe { (bytes(pin, pin_len)?, bytes(label, 32)?) };
        library()?.init_token(slot, pin, label)
    }

    C_InitPIN(session: Session, pin: *mut c_uchar, pin_len: Len) {
        // SAFETY: the program's promise.
        let pin = unsafe { bytes(pin, pin_len) }?;
        library()?.init_pin(session, pin)
    }

    C_SetPIN(session: Session, old: *mut c_uchar, old_len: Len, new: *mut c_uchar, new_len: Len) {
        // SAFETY: the program's promise.
        let (old, new) = unsafe { (bytes(old, old_len)?, bytes(new, new_len)?) };
        library()?.set_pin(session, old, new)
    }

    C_OpenSession(slot: Slot, flags: CK_FLAGS, _application: *mut c_void, _notify: CK_NOTIFY,
        session: *mut Session)
    {
        if session.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let opened = library()?.open_session(slot, flags)?;
        // SAFETY: the program's promise.
        unsafe { write(opened, session) }
    }

    C_CloseSession(session: Session) {
        library()?.close_session(session)
    }

    C_CloseAllSessions(slot: Slot) {
        library()?.close_all_sessions(slot)
    }

    C_GetSessionInfo(session: Session, info: *mut CK_SESSION_INFO) {
        let known = library()?.session_info(session)?;
        // SAFETY: the program's promise.
        unsafe { write(known, info) }
    }

    C_Login(session: Session, user: CK_USER_TYPE, pin: *mut c_uchar, pin_len: Len) {
        // Many programs pass NULL, and any length, where the token asks for no PIN.
        let pin_len = if pin.is_null() { 0 } else { pin_len };
        // SAFETY: the program's promise.
        let pin = unsafe { bytes(pin, pin_len) }?;
        library()?.login(session, user, pin)
    }

    C_Logout(session: Session) {
        library()?.logout(session)
    }

    C_DestroyObject(session: Session, object: Object) {
        library()?.destroy(session, object)
    }

    C_GetObjectSize(session: Session, object: Object, size: *mut Len) {
        library()?.has_object(session, object)?;
        // SAFETY: the program's promise.
        unsafe { write(CK_UNAVAILABLE_INFORMATION, size) }
    }

    C_GetAttributeValue(session: Session, object: Object, first: *mut CK_ATTRIBUTE, len: Len) {
        // SAFETY: the program's promise.
        let types = unsafe { types(first, len) }?;
        let values = library()?.values(session, object, &types)?;
        // SAFETY: the program's promise; there is a value for each attribute.
        unsafe { write_values(first, &values) }
    }

    // No object can be changed but by its end.
    C_SetAttributeValue(session: Session, object: Object, _first: *mut CK_ATTRIBUTE, _len: Len) {
        library()?.has_object(session, object)?;
        Err(Rv(CKR_ACTION_PROHIBITED))
    }

    C_CopyObject(session: Session, object: Object, _first: *mut CK_ATTRIBUTE, _len: Len,
        _copy: *mut Object)
    {
        library()?.has_object(session, object)?;
        Err(Rv(CKR_ACTION_PROHIBITED))
    }

    C_FindObjectsInit(session: Session, first: *mut CK_ATTRIBUTE, len: Len) {
        // SAFETY: the program's promise.
        let template = unsafe { template(first, len) }?;
        library()?.find_init(session, &template)
    }

    C_FindObjects(session: Session, objects: *mut Object, max: Len, count: *mut Len) {
        if count.is_null() || (objects.is_null() && max > 0) {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let found = library()?.find_next(session, max as usize)?;
        // SAFETY: the program's promise: there is room for `max`, and no more were found.
        unsafe {
            write(found.len() as Len, count)?;
            std::ptr::copy_nonoverlapping(found.as_ptr(), objects, found.len());
        }
        Ok(())
    }

    C_FindObjectsFinal(session: Session) {
        library()?.find_final(session)
    }

    // NULL for the mechanism ends what is under way (PKCS#11 3.0, section 5.13.1).
    C_SignInit(session: Session, by: *mut CK_MECHANISM, key: Object) {
        // SAFETY: the program's promise.
        match unsafe { mechanism(by) } {
            Some(mechanism) => library()?.sign_init(session, &mechanism, key),
            None => library()?.sign_cancel(session),
        }
    }

    C_Sign(session: Session, data: *mut c_uchar, len: Len, out: *mut c_uchar, out_len: *mut Len) {
        // SAFETY: the program's promise.
        let message = unsafe { message(data, len) };
        // SAFETY: the same.
        unsafe { sign(session, Some(message), out, out_len) }
    }

    C_SignUpdate(session: Session, part: *mut c_uchar, len: Len) {
        // SAFETY: the program's promise.
        let part = unsafe { bytes(part, len) }?;
        library()?.sign_update(session, part)
    }

    C_SignFinal(session: Session, out: *mut c_uchar, out_len: *mut Len) {
        // SAFETY: the program's promise.
        unsafe { sign(session, None, out, out_len) }
    }

    C_GenerateKeyPair(session: Session, by: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE,
        public_len: Len, private: *mut CK_ATTRIBUTE, private_len: Len, public_key: *mut Object,
        private_key: *mut Object)
    {
        if public_key.is_null() || private_key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        // SAFETY: the program's promise.
        let (by, public, private) = unsafe {
            (mechanism(by), template(public, public_len)?, template(private, private_len)?)
        };
        let by = by.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let made = library()?.generate_key_pair(session, &by, &public, &private)?;
        // SAFETY: the program's promise.
        unsafe {
            write(made.0, public_key)?;
            write(made.1, private_key)
        }
    }

    C_SeedRandom(session: Session, _seed: *mut c_uchar, _len: Len) {
        #[cfg(feature = "forced-panic")]
        panic!("forced");
        #[allow(unreachable_code)]
        library()?.has_session(session)?;
        Err(Rv(CKR_RANDOM_SEED_NOT_SUPPORTED))
    }

    // The kernel's: the standard asks for no better one, and the token's is the signer's.
    C_GenerateRandom(session: Session, random: *mut c_uchar, len: Len) {
        library()?.has_session(session)?;
        if random.is_null() && len > 0 {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let mut bytes = [0; 256];
        let mut done = 0;
        while done < len {
            let wanted = bytes.len().min((len - done) as usize);
            let some = &mut bytes[..wanted];
            match rustix::rand::getrandom(&mut *some, rustix::rand::GetRandomFlags::empty()) {
                // SAFETY: the program's promise; what is written lies before `len`.
                Ok(got) => unsafe {
                    let place = random.add(done as usize);
                    std::ptr::copy_nonoverlapping(some.as_ptr(), place, got);
                    done += got as Len;
                },
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(Rv(CKR_FUNCTION_FAILED)),
            }
        }
        Ok(())
    }

    // There is nobody who could tell without being asked.
    C_WaitForSlotEvent(flags: CK_FLAGS, _slot: *mut Slot, _reserved: *mut c_void) {
        library()?;
        let dont_wait = flags & CKF_DONT_BLOCK != 0;
        Err(Rv(if dont_wait { CKR_NO_EVENT } else { CKR_FUNCTION_NOT_SUPPORTED }))
    }

    C_SessionCancel(session: Session, flags: CK_FLAGS) {
        library()?.cancel(session, flags)
    }
}

/// What C_Sign and C_SignFinal share: NULL for the signature asks for its length, and too little room
/// leaves all as it is, so that the program can come again (PKCS#11 3.0, section 5.2).
///
/// # Safety
///
/// An `out` that is not NULL is valid for writing as many bytes as `out_len` says, which is valid for
/// reading and writing unless it is NULL.
unsafe fn sign(
    session: Session,
    message: Option<Result<&[u8]>>,
    out: *mut c_uchar,
    out_len: *mut Len,
) -> Result<()> {
    let library = library()?;
    if out_len.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    let len = library.signature_len(session, message.is_some())?;
    // SAFETY: the caller's.
    let room = unsafe { out_len.read() };
    if out.is_null() || room < len as Len {
        // SAFETY: the caller's.
        unsafe { out_len.write(len as Len) };
        let asked = out.is_null();
        return asked.then_some(()).ok_or(Rv(CKR_BUFFER_TOO_SMALL));
    }
    let message = message.transpose().inspect_err(|_| {
        // A call that fails in another way ends the operation.
        let _ = library.sign_cancel(session);
    })?;
    let signature = library.sign(session, message)?;
    // SAFETY: the caller's; it is as long as `signature_len` said, for which there is room.
    unsafe { write_list(&signature, out, out_len) }
}

/// A panic says nothing on the program's standard error, unless somebody asked for it.
fn prepare() {
    static ONCE: Once = Once::new();
    debug::set(text(debug::VARIABLE).as_deref());
    let journal = environment::variable(standard_error::JOURNAL_STREAM);
    standard_error::set_journal(journal.as_deref());
    refusal::set(text(refusal::QUIET).as_deref(), standard_error::write_line);
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            debug::log(format_args!("a defect in this module: {panic}"));
        }));
    });
}
