//! The function table: one line a function, and what most of them do.

#![allow(non_snake_case, non_camel_case_types)]

use std::path::PathBuf;
use std::sync::LazyLock;

use cryptoki_sys::*;

use crate::call::{Call, Subject};
use crate::{give_up, special};

/// What the first argument of a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Session,
    Slot,
    Nothing,
}

/// The table of the wrapped module, which is loaded when it is first wanted and stays.
pub(crate) static REAL: LazyLock<CK_FUNCTION_LIST> = LazyLock::new(|| {
    let module = std::env::var_os("FAULTY_MODULE").map_or_else(soft_hsm, PathBuf::from);
    let failed = |why: String| -> ! { give_up(&format!("{}: {why}", module.display())) };
    // SAFETY: it is a PKCS#11 module, which does nothing bad when it is loaded.
    let library = unsafe { cryptoki_sys::Pkcs11::new(&module) };
    let library = library.unwrap_or_else(|error| failed(error.to_string()));
    let mut list = std::ptr::null_mut();
    // SAFETY: the argument is a pointer for a pointer to the table.
    let rv = unsafe { library.C_GetFunctionList(&raw mut list) };
    if rv != CKR_OK || list.is_null() {
        failed(format!("C_GetFunctionList: {}", crate::rv::name(rv)));
    }
    std::mem::forget(library);
    // SAFETY: the table is static data of a library that is never unloaded.
    unsafe { *list }
});

fn soft_hsm() -> PathBuf {
    let multiarch = format!("/usr/lib/{}-linux-gnu/softhsm", std::env::consts::ARCH);
    let found = [multiarch.as_str(), "/usr/lib/softhsm"].map(|dir| format!("{dir}/libsofthsm2.so"));
    let found = found
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file());
    found.unwrap_or_else(|| give_up("FAULTY_MODULE is not set, and there is no SoftHSM2"))
}

/// What a host finds in the library by name. There is no `C_GetInterface`: hosts do without.
///
/// # Safety
///
/// `list` must be valid for writing a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    LazyLock::force(&REAL);
    // SAFETY: the caller promises it. Nobody writes through the pointer, by PKCS#11.
    unsafe { *list = (&raw const TABLE).cast_mut() };
    CKR_OK
}

macro_rules! pass_on {
    (special $takes:ident $name:ident ($($arg:ident: $type:ty),*)) => {};
    (simple nothing $name:ident ($($arg:ident: $type:ty),*)) => {
        pass_on!(@ $name, Subject::Nothing, $($arg: $type),*);
    };
    (simple slot $name:ident ($($arg:ident: $type:ty),*)) => {
        pass_on!(@ $name, Subject::Slot(slot), slot: CK_SLOT_ID $(, $arg: $type)*);
    };
    (simple session $name:ident ($($arg:ident: $type:ty),*)) => {
        pass_on!(@ $name, Subject::Session(session), session: CK_SESSION_HANDLE $(, $arg: $type)*);
    };
    (@ $name:ident, $subject:expr, $($arg:ident: $type:ty),*) => {
        pub(super) unsafe extern "C" fn $name($($arg: $type),*) -> CK_RV {
            Call::begin(Function::$name, $subject).end_with(|| match REAL.$name {
                // SAFETY: the arguments are the caller's, who answers for them.
                Some(function) => unsafe { function($($arg),*) },
                None => CKR_FUNCTION_NOT_SUPPORTED,
            })
        }
    };
}

macro_rules! takes {
    (session) => {
        Takes::Session
    };
    (slot) => {
        Takes::Slot
    };
    (nothing) => {
        Takes::Nothing
    };
}

/// Lines are: who does it, what the first argument is, and the function with its other arguments.
macro_rules! functions {
    ($($how:ident $takes:tt $name:ident $arguments:tt;)*) => {
        /// A function of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($name),* }

        impl Function {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            pub(crate) fn takes(self) -> Takes {
                match self { $(Self::$name => takes!($takes)),* }
            }
        }

        mod simple {
            use super::*;
            $(pass_on!($how $takes $name $arguments);)*
        }

        static TABLE: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            C_GetFunctionList: Some(C_GetFunctionList),
            $($name: Some($how::$name)),*
        };
    };
}

type Bytes = *mut CK_BYTE;
type Len = CK_ULONG;
type LenPtr = *mut CK_ULONG;
type Key = CK_OBJECT_HANDLE;
type KeyPtr = *mut CK_OBJECT_HANDLE;
type Mechanism = *mut CK_MECHANISM;
type Template = *mut CK_ATTRIBUTE;

functions! {
    special nothing C_Initialize(args: *mut std::ffi::c_void);
    special nothing C_Finalize(reserved: *mut std::ffi::c_void);
    special nothing C_GetInfo(info: *mut CK_INFO);
    special nothing C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: LenPtr);
    special slot C_GetSlotInfo(info: *mut CK_SLOT_INFO);
    special slot C_GetTokenInfo(info: *mut CK_TOKEN_INFO);
    simple slot C_GetMechanismList(list: *mut CK_MECHANISM_TYPE, count: LenPtr);
    simple slot C_GetMechanismInfo(mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO);
    special slot C_InitToken(pin: Bytes, pin_len: Len, label: Bytes);
    simple session C_InitPIN(pin: Bytes, pin_len: Len);
    simple session C_SetPIN(old: Bytes, old_len: Len, new: Bytes, new_len: Len);
    special slot C_OpenSession(flags: CK_FLAGS, application: *mut std::ffi::c_void,
        notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE);
    special session C_CloseSession();
    special slot C_CloseAllSessions();
    simple session C_GetSessionInfo(info: *mut CK_SESSION_INFO);
    simple session C_GetOperationState(state: Bytes, len: LenPtr);
    simple session C_SetOperationState(state: Bytes, len: Len, encryption: Key, authentication: Key);
    simple session C_Login(user: CK_USER_TYPE, pin: Bytes, pin_len: Len);
    simple session C_Logout();
    simple session C_CreateObject(template: Template, len: Len, object: KeyPtr);
    simple session C_CopyObject(object: Key, template: Template, len: Len, copy: KeyPtr);
    simple session C_DestroyObject(object: Key);
    simple session C_GetObjectSize(object: Key, size: LenPtr);
    simple session C_GetAttributeValue(object: Key, template: Template, len: Len);
    simple session C_SetAttributeValue(object: Key, template: Template, len: Len);
    simple session C_FindObjectsInit(template: Template, len: Len);
    simple session C_FindObjects(objects: KeyPtr, max: Len, count: LenPtr);
    simple session C_FindObjectsFinal();
    simple session C_EncryptInit(mechanism: Mechanism, key: Key);
    simple session C_Encrypt(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_EncryptUpdate(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_EncryptFinal(out: Bytes, out_len: LenPtr);
    simple session C_DecryptInit(mechanism: Mechanism, key: Key);
    simple session C_Decrypt(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_DecryptUpdate(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_DecryptFinal(out: Bytes, out_len: LenPtr);
    simple session C_DigestInit(mechanism: Mechanism);
    simple session C_Digest(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_DigestUpdate(data: Bytes, len: Len);
    simple session C_DigestKey(key: Key);
    simple session C_DigestFinal(out: Bytes, out_len: LenPtr);
    simple session C_SignInit(mechanism: Mechanism, key: Key);
    special session C_Sign(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_SignUpdate(data: Bytes, len: Len);
    simple session C_SignFinal(out: Bytes, out_len: LenPtr);
    simple session C_SignRecoverInit(mechanism: Mechanism, key: Key);
    simple session C_SignRecover(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_VerifyInit(mechanism: Mechanism, key: Key);
    simple session C_Verify(data: Bytes, len: Len, signature: Bytes, signature_len: Len);
    simple session C_VerifyUpdate(data: Bytes, len: Len);
    simple session C_VerifyFinal(signature: Bytes, signature_len: Len);
    simple session C_VerifyRecoverInit(mechanism: Mechanism, key: Key);
    simple session C_VerifyRecover(signature: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_DigestEncryptUpdate(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_DecryptDigestUpdate(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_SignEncryptUpdate(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_DecryptVerifyUpdate(data: Bytes, len: Len, out: Bytes, out_len: LenPtr);
    simple session C_GenerateKey(mechanism: Mechanism, template: Template, len: Len, key: KeyPtr);
    special session C_GenerateKeyPair(mechanism: Mechanism, public: Template, public_len: Len,
        private: Template, private_len: Len, public_key: KeyPtr, private_key: KeyPtr);
    simple session C_WrapKey(mechanism: Mechanism, with: Key, key: Key, out: Bytes, out_len: LenPtr);
    simple session C_UnwrapKey(mechanism: Mechanism, with: Key, wrapped: Bytes, wrapped_len: Len,
        template: Template, len: Len, key: KeyPtr);
    simple session C_DeriveKey(mechanism: Mechanism, base: Key, template: Template, len: Len,
        key: KeyPtr);
    simple session C_SeedRandom(seed: Bytes, len: Len);
    simple session C_GenerateRandom(random: Bytes, len: Len);
    simple session C_GetFunctionStatus();
    simple session C_CancelFunction();
    simple nothing C_WaitForSlotEvent(flags: CK_FLAGS, slot: *mut CK_SLOT_ID,
        reserved: *mut std::ffi::c_void);
}
