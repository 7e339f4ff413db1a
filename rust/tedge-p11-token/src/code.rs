//! Return values of PKCS#11 functions: their names, and what they mean for who goes on.

use std::fmt;

use cryptoki::error::RvError;

/// What a PKCS#11 function returned other than `CKR_OK`. It is shown by its `CKR_` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(RvError);

impl Code {
    pub(crate) const PIN_INCORRECT: Self = Self(RvError::PinIncorrect);
    pub(crate) const PIN_LOCKED: Self = Self(RvError::PinLocked);
    pub(crate) const SESSION_COUNT: Self = Self(RvError::SessionCount);

    /// Whether it says that a handle or a device is not what it was when it was opened.
    pub(crate) fn is_stale(self) -> bool {
        matches!(
            self.0,
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

    /// Whether only `C_Initialize` helps.
    pub(crate) fn needs_initialization(self) -> bool {
        self.0 == RvError::CryptokiNotInitialized
    }

    /// What the operator may look at, to be put behind the name of the code.
    pub(crate) fn hint(self) -> &'static str {
        match self.0 {
            RvError::DeviceRemoved | RvError::TokenNotPresent => "; is the token plugged in?",
            RvError::DeviceError => "; is the device there, and may this user open it?",
            RvError::TokenWriteProtected => "; the token is write-protected",
            RvError::ActionProhibited => {
                "; the token does not let this object be changed or deleted, as it is with keys from the factory"
            }
            RvError::PinLenRange => "; the PIN is too short or too long for this token",
            RvError::PinInvalid => "; the PIN has characters that this token does not take",
            RvError::MechanismInvalid | RvError::FunctionNotSupported => {
                "; the token cannot do this"
            }
            RvError::UserPinNotInitialized => "; set it with the SO PIN: tedge-hsm unlock",
            RvError::OperationNotInitialized => {
                "; a key that wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE) signs by \
                 C_SignUpdate, which the module may not do with this mechanism"
            }
            _ => "",
        }
    }
}

impl From<RvError> for Code {
    fn from(rv: RvError) -> Self {
        Self(rv)
    }
}

/// cryptoki's names are those of PKCS#11 in another spelling.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let RvError::VendorDefined(code) = self.0 {
            return write!(f, "CKR_VENDOR_DEFINED 0x{code:08x}");
        }
        f.write_str("CKR")?;
        for c in format!("{:?}", self.0).chars() {
            if c.is_ascii_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", c.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_pkcs11_names() {
        let name = |rv| Code::from(rv).to_string();
        assert_eq!(name(RvError::PinIncorrect), "CKR_PIN_INCORRECT");
        assert_eq!(
            name(RvError::VendorDefined(0x8000_0001)),
            "CKR_VENDOR_DEFINED 0x80000001"
        );
    }
}
