//! What a program finds: the interfaces of PKCS#11 3.0 and 2.40, with a function in each place.

use std::ffi::{CStr, c_void};

use cryptoki_sys::*;
use tedge_p11_protocol::MODULE_MARK;

use super::functions::{self, run};
use super::memory::{write, write_list};
use super::version::{VERSION_2, VERSION_3};
use crate::rv::Rv;

/// Functions that are there and do nothing but say so.
macro_rules! without {
    ($code:ident: $($name:ident($($arg:ty),*);)*) => {
        $(
            unsafe extern "C" fn $name($(_: $arg),*) -> CK_RV {
                $code
            }
        )*
    };
}

type Bytes = *mut CK_BYTE;
type Len = CK_ULONG;
type LenPtr = *mut CK_ULONG;
type Session = CK_SESSION_HANDLE;
type Key = CK_OBJECT_HANDLE;
type KeyPtr = *mut CK_OBJECT_HANDLE;
type Mechanism = *mut CK_MECHANISM;
type Template = *mut CK_ATTRIBUTE;
type Void = *mut c_void;

without! { CKR_FUNCTION_NOT_SUPPORTED:
    C_GetOperationState(Session, Bytes, LenPtr);
    C_SetOperationState(Session, Bytes, Len, Key, Key);
    C_CreateObject(Session, Template, Len, KeyPtr);
    C_EncryptInit(Session, Mechanism, Key);
    C_Encrypt(Session, Bytes, Len, Bytes, LenPtr);
    C_EncryptUpdate(Session, Bytes, Len, Bytes, LenPtr);
    C_EncryptFinal(Session, Bytes, LenPtr);
    C_DecryptInit(Session, Mechanism, Key);
    C_Decrypt(Session, Bytes, Len, Bytes, LenPtr);
    C_DecryptUpdate(Session, Bytes, Len, Bytes, LenPtr);
    C_DecryptFinal(Session, Bytes, LenPtr);
    C_DigestInit(Session, Mechanism);
    C_Digest(Session, Bytes, Len, Bytes, LenPtr);
    C_DigestUpdate(Session, Bytes, Len);
    C_DigestKey(Session, Key);
    C_DigestFinal(Session, Bytes, LenPtr);
    C_SignRecoverInit(Session, Mechanism, Key);
    C_SignRecover(Session, Bytes, Len, Bytes, LenPtr);
    C_VerifyInit(Session, Mechanism, Key);
    C_Verify(Session, Bytes, Len, Bytes, Len);
    C_VerifyUpdate(Session, Bytes, Len);
    C_VerifyFinal(Session, Bytes, Len);
    C_VerifyRecoverInit(Session, Mechanism, Key);
    C_VerifyRecover(Session, Bytes, Len, Bytes, LenPtr);
    C_DigestEncryptUpdate(Session, Bytes, Len, Bytes, LenPtr);
    C_DecryptDigestUpdate(Session, Bytes, Len, Bytes, LenPtr);
    C_SignEncryptUpdate(Session, Bytes, Len, Bytes, LenPtr);
    C_DecryptVerifyUpdate(Session, Bytes, Len, Bytes, LenPtr);
    C_GenerateKey(Session, Mechanism, Template, Len, KeyPtr);
    C_WrapKey(Session, Mechanism, Key, Key, Bytes, LenPtr);
    C_UnwrapKey(Session, Mechanism, Key, Bytes, Len, Template, Len, KeyPtr);
    C_DeriveKey(Session, Mechanism, Key, Template, Len, KeyPtr);
    C_LoginUser(Session, CK_USER_TYPE, Bytes, Len, Bytes, Len);
    C_MessageEncryptInit(Session, Mechanism, Key);
    C_EncryptMessage(Session, Void, Len, Bytes, Len, Bytes, Len, Bytes, LenPtr);
    C_EncryptMessageBegin(Session, Void, Len, Bytes, Len);
    C_EncryptMessageNext(Session, Void, Len, Bytes, Len, Bytes, LenPtr, CK_FLAGS);
    C_MessageEncryptFinal(Session);
    C_MessageDecryptInit(Session, Mechanism, Key);
    C_DecryptMessage(Session, Void, Len, Bytes, Len, Bytes, Len, Bytes, LenPtr);
    C_DecryptMessageBegin(Session, Void, Len, Bytes, Len);
    C_DecryptMessageNext(Session, Void, Len, Bytes, Len, Bytes, LenPtr, CK_FLAGS);
    C_MessageDecryptFinal(Session);
    C_MessageSignInit(Session, Mechanism, Key);
    C_SignMessage(Session, Void, Len, Bytes, Len, Bytes, LenPtr);
    C_SignMessageBegin(Session, Void, Len);
    C_SignMessageNext(Session, Void, Len, Bytes, Len, Bytes, LenPtr);
    C_MessageSignFinal(Session);
    C_MessageVerifyInit(Session, Mechanism, Key);
    C_VerifyMessage(Session, Void, Len, Bytes, Len, Bytes, Len);
    C_VerifyMessageBegin(Session, Void, Len);
    C_VerifyMessageNext(Session, Void, Len, Bytes, Len, Bytes, Len);
    C_MessageVerifyFinal(Session);
}

without! { CKR_FUNCTION_NOT_PARALLEL:
    C_GetFunctionStatus(Session);
    C_CancelFunction(Session);
}

/// A table with what both versions have, and `more`.
macro_rules! table {
    ($type:ident, $version:expr, $info:ident { $($more:ident: $of:expr),* }) => {
        table!(@ $type, $version, $info { $($more: $of),* }
            functions: C_Initialize, C_Finalize, C_GetSlotList, C_GetSlotInfo, C_GetTokenInfo,
                C_GetMechanismList, C_GetMechanismInfo, C_InitToken, C_InitPIN, C_SetPIN,
                C_OpenSession, C_CloseSession, C_CloseAllSessions, C_GetSessionInfo, C_Login,
                C_Logout, C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue,
                C_SetAttributeValue, C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal,
                C_SignInit, C_Sign, C_SignUpdate, C_SignFinal, C_GenerateKeyPair, C_SeedRandom,
                C_GenerateRandom, C_WaitForSlotEvent;
            self: C_GetFunctionList, C_GetOperationState, C_SetOperationState, C_CreateObject,
                C_EncryptInit, C_Encrypt, C_EncryptUpdate, C_EncryptFinal, C_DecryptInit, C_Decrypt,
                C_DecryptUpdate, C_DecryptFinal, C_DigestInit, C_Digest, C_DigestUpdate,
                C_DigestKey, C_DigestFinal, C_SignRecoverInit, C_SignRecover, C_VerifyInit,
                C_Verify, C_VerifyUpdate, C_VerifyFinal, C_VerifyRecoverInit, C_VerifyRecover,
                C_DigestEncryptUpdate, C_DecryptDigestUpdate, C_SignEncryptUpdate,
                C_DecryptVerifyUpdate, C_GenerateKey, C_WrapKey, C_UnwrapKey, C_DeriveKey,
                C_GetFunctionStatus, C_CancelFunction)
    };
    (@ $type:ident, $version:expr, $info:ident { $($more:ident: $of:expr),* }
        functions: $($does:ident),*; self: $($own:ident),*) => {
        $type {
            version: $version,
            C_GetInfo: Some(functions::$info),
            $($does: Some(functions::$does),)*
            $($own: Some($own),)*
            $($more: Some($of),)*
        }
    };
}

static TABLE_2: CK_FUNCTION_LIST = table!(CK_FUNCTION_LIST, VERSION_2, C_GetInfo_2 {});

static TABLE_3: CK_FUNCTION_LIST_3_0 = table!(
    CK_FUNCTION_LIST_3_0,
    VERSION_3,
    C_GetInfo_3 {
        C_GetInterfaceList: C_GetInterfaceList,
        C_GetInterface: C_GetInterface,
        C_LoginUser: C_LoginUser,
        C_SessionCancel: functions::C_SessionCancel,
        C_MessageEncryptInit: C_MessageEncryptInit,
        C_EncryptMessage: C_EncryptMessage,
        C_EncryptMessageBegin: C_EncryptMessageBegin,
        C_EncryptMessageNext: C_EncryptMessageNext,
        C_MessageEncryptFinal: C_MessageEncryptFinal,
        C_MessageDecryptInit: C_MessageDecryptInit,
        C_DecryptMessage: C_DecryptMessage,
        C_DecryptMessageBegin: C_DecryptMessageBegin,
        C_DecryptMessageNext: C_DecryptMessageNext,
        C_MessageDecryptFinal: C_MessageDecryptFinal,
        C_MessageSignInit: C_MessageSignInit,
        C_SignMessage: C_SignMessage,
        C_SignMessageBegin: C_SignMessageBegin,
        C_SignMessageNext: C_SignMessageNext,
        C_MessageSignFinal: C_MessageSignFinal,
        C_MessageVerifyInit: C_MessageVerifyInit,
        C_VerifyMessage: C_VerifyMessage,
        C_VerifyMessageBegin: C_VerifyMessageBegin,
        C_VerifyMessageNext: C_VerifyMessageNext,
        C_MessageVerifyFinal: C_MessageVerifyFinal
    }
);

/// The interfaces; the first is what a program gets that names none.
struct Interfaces([CK_INTERFACE; 2]);

// SAFETY: its pointers lead to static data, which nobody writes to by PKCS#11.
unsafe impl Sync for Interfaces {}

static INTERFACES: Interfaces = {
    const fn interface(table: *const c_void) -> CK_INTERFACE {
        CK_INTERFACE {
            pInterfaceName: NAME.as_ptr().cast_mut().cast(),
            pFunctionList: table.cast_mut(),
            flags: 0,
        }
    }
    Interfaces([
        interface((&raw const TABLE_3).cast()),
        interface((&raw const TABLE_2).cast()),
    ])
};

/// By which the signer knows this file before it runs any of it: it must not call itself.
#[unsafe(no_mangle)]
pub static TEDGE_P11_MODULE: [u8; MODULE_MARK.len()] = *MODULE_MARK;

/// Of both interfaces (PKCS#11 3.0, section 5.4.4).
const NAME: &CStr = c"PKCS 11";

/// What a program of PKCS#11 2.40 finds in the library by name.
///
/// # Safety
///
/// A `list` that is not NULL is valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    // SAFETY: the program's promise. Nobody writes through the pointer, by PKCS#11.
    run(|| unsafe { write((&raw const TABLE_2).cast_mut(), list) })
}

/// What a program of PKCS#11 3.0 finds in the library by name: all interfaces.
///
/// # Safety
///
/// A `list` that is not NULL is valid for writing as many interfaces as `count` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(
    list: *mut CK_INTERFACE,
    count: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the program's promise.
    run(|| unsafe { write_list(&INTERFACES.0, list, count) })
}

/// What a program of PKCS#11 3.0 finds in the library by name: the interface that it names, or the newest.
///
/// # Safety
///
/// A `name` that is not NULL ends with a zero byte; a `version` that is not NULL is valid for reading, an
/// `interface` that is not NULL for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> CK_RV {
    run(|| {
        // SAFETY: the program's promise.
        let other_name = !name.is_null() && unsafe { CStr::from_ptr(name.cast()) } != NAME;
        let version = if version.is_null() {
            VERSION_3
        } else {
            // SAFETY: the program's promise.
            unsafe { version.read() }
        };
        let index = match (version.major, version.minor) {
            (3, 0) => 0,
            (2, 40) => 1,
            _ => return Err(Rv(CKR_ARGUMENTS_BAD)),
        };
        // No interface has a flag: after a fork the child calls C_Initialize.
        if other_name || flags != 0 {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let found = &raw const INTERFACES.0[index];
        // SAFETY: the program's promise.
        unsafe { write(found.cast_mut(), interface) }
    })
}
