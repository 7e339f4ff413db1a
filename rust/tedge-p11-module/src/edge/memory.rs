//! From a program's memory to values, and back.

use std::ffi::c_void;

use cryptoki_sys::*;
use tedge_p11_protocol::MAX_REQUEST_LEN;

use crate::attribute::Value;
use crate::mechanism::{Mechanism, Parameter};
use crate::rv::{Result, Rv};
use crate::template::Template;

/// Bytes that the program passes.
///
/// # Safety
///
/// A `data` that is not NULL is valid for reading `len` bytes, for as long as the result is used.
pub(super) unsafe fn bytes<'a>(data: *const CK_BYTE, len: CK_ULONG) -> Result<&'a [u8]> {
    // SAFETY: the caller's.
    unsafe { elements(data, len) }
}

/// Elements that the program passes.
///
/// # Safety
///
/// A `first` that is not NULL is aligned and valid for reading `len` elements, for as long as the result
/// is used.
unsafe fn elements<'a, T>(first: *const T, len: CK_ULONG) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    // More than half of the address space is no length but a mistake (CK_UNAVAILABLE_INFORMATION).
    let is_length = (len as usize)
        .checked_mul(size_of::<T>())
        .is_some_and(|size| isize::try_from(size).is_ok());
    if first.is_null() || !is_length {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: the caller's; the length has just been looked at.
    Ok(unsafe { std::slice::from_raw_parts(first, len as usize) })
}

/// The bytes that a program has signed at once. No request takes more, and copies of a length that is a mistake would end
/// the program.
///
/// # Safety
///
/// As of [`bytes`].
pub(super) unsafe fn message<'a>(data: *const CK_BYTE, len: CK_ULONG) -> Result<&'a [u8]> {
    if len > MAX_REQUEST_LEN as CK_ULONG && isize::try_from(len).is_ok() {
        return Err(Rv(CKR_DATA_LEN_RANGE));
    }
    // SAFETY: the caller's.
    unsafe { bytes(data, len) }
}

/// Most attributes in a template. A count that is a mistake would take room that can't be had.
const MAX_ATTRIBUTES: CK_ULONG = 4096;

/// Attributes that the program passes.
///
/// # Safety
///
/// As of [`elements`].
unsafe fn attributes<'a>(first: *const CK_ATTRIBUTE, len: CK_ULONG) -> Result<&'a [CK_ATTRIBUTE]> {
    if len > MAX_ATTRIBUTES {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: the caller's.
    unsafe { elements(first, len) }
}

/// Longest value in a template, in bytes: no request to the signer takes a longer one.
const MAX_VALUE_LEN: CK_ULONG = MAX_REQUEST_LEN as CK_ULONG;

/// A template that the program passes.
///
/// # Safety
///
/// A `first` that is not NULL is valid for reading `len` attributes, whose values are as long as they say.
pub(super) unsafe fn template(first: *const CK_ATTRIBUTE, len: CK_ULONG) -> Result<Template> {
    // SAFETY: the caller's.
    let attributes = unsafe { attributes(first, len) }?;
    let attributes = attributes.iter().map(|attribute| {
        // Room for a copy of a length that is a mistake can't be had, which would end the program.
        if attribute.ulValueLen > MAX_VALUE_LEN {
            return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID));
        }
        // SAFETY: the caller's.
        let value = unsafe { bytes(attribute.pValue.cast(), attribute.ulValueLen) };
        let value = value.map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
        Ok((attribute.type_, value.to_vec()))
    });
    attributes.collect::<Result<_>>().map(Template::new)
}

/// The types of the attributes that the program asks for.
///
/// # Safety
///
/// A `first` that is not NULL is valid for reading `len` attributes.
pub(super) unsafe fn types(
    first: *const CK_ATTRIBUTE,
    len: CK_ULONG,
) -> Result<Vec<CK_ATTRIBUTE_TYPE>> {
    // SAFETY: the caller's.
    let attributes = unsafe { attributes(first, len) }?;
    Ok(attributes.iter().map(|attribute| attribute.type_).collect())
}

/// Writes values where the program wants them, one for each attribute of its template; what an object does
/// not tell, or what has no room, gets [`CK_UNAVAILABLE_INFORMATION`] for its length, and the others are
/// written all the same (PKCS#11 3.0, section 5.7.5).
///
/// # Safety
///
/// `first` is valid for reading and writing as many attributes as there are values, and each `pValue` that
/// is not NULL for writing `ulValueLen` bytes.
pub(super) unsafe fn write_values(first: *mut CK_ATTRIBUTE, values: &[Value]) -> Result<()> {
    let mut result = Ok(());
    for (index, value) in values.iter().enumerate() {
        // SAFETY: the caller's. No reference is made: the program may keep the values inside of the
        // template itself.
        unsafe {
            let attribute = first.add(index);
            let (place, room) = ((*attribute).pValue, (*attribute).ulValueLen);
            (*attribute).ulValueLen = match value {
                Value::Is(value) if place.is_null() => value.len() as CK_ULONG,
                Value::Is(value) if value.len() as CK_ULONG <= room => {
                    std::ptr::copy_nonoverlapping(value.as_ptr(), place.cast(), value.len());
                    value.len() as CK_ULONG
                }
                Value::Is(_) => {
                    result = Err(Rv(CKR_BUFFER_TOO_SMALL));
                    CK_UNAVAILABLE_INFORMATION
                }
                Value::Sensitive => {
                    result = Err(Rv(CKR_ATTRIBUTE_SENSITIVE));
                    CK_UNAVAILABLE_INFORMATION
                }
                Value::Unknown => {
                    result = Err(Rv(CKR_ATTRIBUTE_TYPE_INVALID));
                    CK_UNAVAILABLE_INFORMATION
                }
            };
        }
    }
    result
}

/// Writes a list as C_GetSlotList does: without room for all of it, only its length is told.
///
/// # Safety
///
/// A `first` that is not NULL is valid for writing as many elements as `len` says, which is valid for
/// reading and writing unless it is NULL.
pub(super) unsafe fn write_list<T: Copy>(
    list: &[T],
    first: *mut T,
    len: *mut CK_ULONG,
) -> Result<()> {
    if len.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: the caller's.
    unsafe {
        let room = len.read();
        len.write(list.len() as CK_ULONG);
        if first.is_null() {
            return Ok(());
        }
        if room < list.len() as CK_ULONG {
            return Err(Rv(CKR_BUFFER_TOO_SMALL));
        }
        std::ptr::copy_nonoverlapping(list.as_ptr(), first, list.len());
    }
    Ok(())
}

/// Writes one value.
///
/// # Safety
///
/// A `place` that is not NULL is valid for writing.
pub(super) unsafe fn write<T>(value: T, place: *mut T) -> Result<()> {
    if place.is_null() {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: the caller's.
    unsafe { place.write(value) };
    Ok(())
}

/// A mechanism that the program passes; none if it passes NULL.
///
/// # Safety
///
/// A `mechanism` that is not NULL is valid for reading, and so is its parameter, which is of the type that
/// the mechanism has if it has the length of that type.
pub(super) unsafe fn mechanism(mechanism: *const CK_MECHANISM) -> Option<Mechanism> {
    if mechanism.is_null() {
        return None;
    }
    // SAFETY: the caller's.
    let (id, parameter, len) = unsafe {
        let mechanism = mechanism.read();
        let len = mechanism.ulParameterLen as usize;
        (mechanism.mechanism, mechanism.pParameter, len)
    };
    // SAFETY: the caller's.
    let parameter = unsafe { self::parameter(id, parameter, len) };
    Some(Mechanism { id, parameter })
}

/// # Safety
///
/// As for [`mechanism`].
unsafe fn parameter(id: CK_MECHANISM_TYPE, place: *const c_void, len: usize) -> Parameter {
    let is_pss = matches!(
        id,
        CKM_RSA_PKCS_PSS
            | CKM_SHA256_RSA_PKCS_PSS
            | CKM_SHA384_RSA_PKCS_PSS
            | CKM_SHA512_RSA_PKCS_PSS
    );
    if place.is_null() || len == 0 {
        return Parameter::None;
    }
    if is_pss && len == size_of::<CK_RSA_PKCS_PSS_PARAMS>() {
        // SAFETY: it is not NULL and has this length; programs do not always align it.
        let params = unsafe { place.cast::<CK_RSA_PKCS_PSS_PARAMS>().read_unaligned() };
        return Parameter::Pss {
            hash: params.hashAlg,
            mgf: params.mgf,
            salt_len: params.sLen,
        };
    }
    if id == CKM_EDDSA && len == size_of::<CK_EDDSA_PARAMS>() {
        // SAFETY: as above.
        let params = unsafe { place.cast::<CK_EDDSA_PARAMS>().read_unaligned() };
        return Parameter::Eddsa {
            prehash: params.phFlag != CK_FALSE,
            context_len: params.ulContextDataLen,
        };
    }
    Parameter::Other
}

/// Whether a program lets the library lock by what the system has, which is the only way here.
///
/// # Safety
///
/// An `args` that is not NULL points to a `CK_C_INITIALIZE_ARGS`.
pub(super) unsafe fn initialize_args(args: *const c_void) -> Result<()> {
    if args.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's.
    let args = unsafe { args.cast::<CK_C_INITIALIZE_ARGS>().read_unaligned() };
    let functions = [
        args.CreateMutex.is_some(),
        args.DestroyMutex.is_some(),
        args.LockMutex.is_some(),
        args.UnlockMutex.is_some(),
    ];
    let (some, all) = (functions.contains(&true), !functions.contains(&false));
    if some != all {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    // pReserved is not looked at: p11-kit and NSS pass their own through it.
    if all && args.flags & CKF_OS_LOCKING_OK == 0 {
        return Err(Rv(CKR_CANT_LOCK));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before anything is read or copied: no program answers for so much.
    #[test]
    fn lengths_that_are_a_mistake_are_refused() {
        let byte = 0;
        for len in [MAX_REQUEST_LEN as CK_ULONG + 1, 1 << 31, CK_ULONG::MAX] {
            // SAFETY: a refused length is not read.
            let refused = unsafe { message(&raw const byte, len) }.unwrap_err();
            assert!(
                matches!(refused, Rv(CKR_DATA_LEN_RANGE | CKR_ARGUMENTS_BAD)),
                "{len}"
            );
        }
        let attribute = CK_ATTRIBUTE {
            type_: CKA_LABEL,
            pValue: std::ptr::null_mut(),
            ulValueLen: 0,
        };
        for len in [MAX_ATTRIBUTES + 1, 1 << 31, CK_ULONG::MAX] {
            // SAFETY: as above.
            let refused = unsafe { types(&raw const attribute, len) };
            assert!(refused.is_err(), "{len}");
            // SAFETY: as above.
            let refused = unsafe { template(&raw const attribute, len) };
            assert!(refused.is_err(), "{len}");
        }
    }
}
