//! Return values of PKCS#11 functions: their names, and what they mean for who goes on.

use cryptoki::error::RvError;

/// The `CKR_` name of a return value, made from cryptoki's name for it.
pub(crate) fn code_name(rv: RvError) -> String {
    if let RvError::VendorDefined(code) = rv {
        return format!("CKR_VENDOR_DEFINED 0x{code:08x}");
    }
    let mut name = String::from("CKR");
    for c in format!("{rv:?}").chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// Codes that say that a handle or a device is not what it was when it was opened.
pub(crate) fn is_stale(rv: RvError) -> bool {
    matches!(
        rv,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::SlotIdInvalid
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::GeneralError
            | RvError::FunctionFailed
            | RvError::DeviceMemory
            | RvError::HostMemory
            | RvError::SessionCount
            | RvError::OperationActive
            | RvError::CryptokiNotInitialized
    )
}

/// What the operator may look at, to be put behind the name of the code.
pub(crate) fn hint(code: &str) -> &'static str {
    match code {
        "CKR_DEVICE_REMOVED" | "CKR_TOKEN_NOT_PRESENT" => "; is the token plugged in?",
        "CKR_DEVICE_ERROR" => "; is the device there, and may this user open it?",
        "CKR_TOKEN_WRITE_PROTECTED" => "; the token is write-protected",
        "CKR_PIN_LEN_RANGE" => "; the PIN is too short or too long for this token",
        "CKR_PIN_INVALID" => "; the PIN has characters that this token does not take",
        "CKR_MECHANISM_INVALID" | "CKR_FUNCTION_NOT_SUPPORTED" => "; the token cannot do this",
        "CKR_USER_PIN_NOT_INITIALIZED" => "; have the security officer set it: tedge-hsm unlock",
        "CKR_OPERATION_NOT_INITIALIZED" => {
            "; a key that wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE) signs by \
             C_SignUpdate, which the module may not do with this mechanism"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_pkcs11_names() {
        assert_eq!(code_name(RvError::PinIncorrect), "CKR_PIN_INCORRECT");
        assert_eq!(
            code_name(RvError::VendorDefined(0x8000_0001)),
            "CKR_VENDOR_DEFINED 0x80000001"
        );
    }
}
