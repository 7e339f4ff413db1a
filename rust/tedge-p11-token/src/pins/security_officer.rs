//! Sessions of the security officer, who sets PINs and sees no keys.

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use tedge_p11_protocol::{Pin, Uri};

use super::auth_pin::auth_pin;
use crate::call_error::CallError;
use crate::error::{Error, Result, TriesLeft};

/// Runs `operation`, which sets a PIN, in a session in which the security officer of the token in `slot` is
/// logged in. The token must have no other session. What `operation` fails with is final: the PIN may have
/// been set all the same, and the old one must not be tried again.
pub(crate) fn as_security_officer(
    pkcs11: &Pkcs11,
    slot: Slot,
    uri: &Uri,
    so_pin: &Pin,
    operation: impl FnOnce(&Session) -> cryptoki::error::Result<()>,
) -> Result<()> {
    let named = |error: CryptokiError| match error {
        CryptokiError::Pkcs11(RvError::PinIncorrect, Function::Login | Function::SetPIN) => {
            Error::SoPinIncorrect {
                token: uri.clone(),
                flags: tries_left(pkcs11, slot, |info| TriesLeft {
                    count_low: info.so_pin_count_low(),
                    final_try: info.so_pin_final_try(),
                    locked: info.so_pin_locked(),
                }),
            }
        }
        CryptokiError::Pkcs11(RvError::PinLocked, Function::Login | Function::SetPIN) => {
            Error::SoPinLocked(uri.clone())
        }
        other => CallError::new(other, uri).into(),
    };
    let session = pkcs11.open_rw_session(slot).map_err(named)?;
    session
        .login(UserType::So, Some(&auth_pin(so_pin)))
        .map_err(named)?;
    operation(&session).map_err(|error| named(error).final_word())?;
    // The session is closed in any case, and what was to be done is done.
    if let Err(error) = session.logout() {
        log::debug!("C_Logout of the security officer of {uri}: {error}");
    }
    Ok(())
}

/// What the token in `slot` says of the tries left, read out of its flags.
pub(crate) fn tries_left(
    pkcs11: &Pkcs11,
    slot: Slot,
    read: fn(&TokenInfo) -> TriesLeft,
) -> TriesLeft {
    let info = pkcs11.get_token_info(slot);
    info.as_ref().map(read).unwrap_or_default()
}
