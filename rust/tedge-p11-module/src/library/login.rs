//! Who is logged in, and PINs.

use std::sync::Arc;

use cryptoki_sys::*;
use tedge_p11_client::Pin;

use super::{Library, lock};
use crate::attribute::Class;
use crate::rv::{Result, Rv};
use crate::session::Session;
use crate::signer::Wanted;
use crate::slot::{self, Login};

impl Library {
    pub(crate) fn init_token(&self, id: CK_SLOT_ID, so_pin: &[u8], label: &[u8]) -> Result<()> {
        let slot = self.slot_with_token(id)?;
        let in_use = |session: &Arc<Session>| session.slot.id == id;
        if lock(&self.sessions).open.values().any(in_use) {
            return Err(Rv(CKR_SESSION_EXISTS));
        }
        let label = std::str::from_utf8(label).map_err(|_| Rv(CKR_ARGUMENTS_BAD))?;
        let so_pin = pin(so_pin)?;
        self.signer
            .init_token(&slot.token()?, label.trim_end_matches(' '), &so_pin)?;
        self.look_for_tokens();
        Ok(())
    }

    /// A PIN that the signer has itself is not even looked at. One that it has not is tried at once, by a
    /// list of the keys.
    pub(crate) fn login(
        &self,
        handle: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        given: &[u8],
    ) -> Result<()> {
        let session = self.session(handle)?;
        let slot = &session.slot;
        match (user, slot.login()) {
            (CKU_USER, Login::User(_)) | (CKU_SO, Login::SecurityOfficer(_)) => {
                return Err(Rv(CKR_USER_ALREADY_LOGGED_IN));
            }
            (CKU_USER, Login::SecurityOfficer(_)) | (CKU_SO, Login::User(_)) => {
                return Err(Rv(CKR_USER_ANOTHER_ALREADY_LOGGED_IN));
            }
            // The signer brings the PIN where a key wants it for each signature.
            (CKU_CONTEXT_SPECIFIC, _) if session.active().signing.is_some() => return Ok(()),
            (CKU_CONTEXT_SPECIFIC, _) => return Err(Rv(CKR_OPERATION_NOT_INITIALIZED)),
            (CKU_USER | CKU_SO, Login::Nobody) => {}
            _ => return Err(Rv(CKR_USER_TYPE_INVALID)),
        }
        if user == CKU_SO {
            let sessions = lock(&self.sessions);
            let reads_only = |s: &Arc<Session>| s.slot.id == slot.id && !s.rw;
            if sessions.open.values().any(reads_only) {
                return Err(Rv(CKR_SESSION_READ_ONLY_EXISTS));
            }
            drop(sessions);
            slot.set_login(Login::SecurityOfficer(pin(given)?));
            return Ok(());
        }
        let token = self.token(slot)?;
        if !token.needs_pin {
            slot.set_login(Login::User(None));
            return Ok(());
        }
        let pin = pin(given)?;
        let keys = Wanted {
            class: Some(Class::PrivateKey),
            ..Wanted::default()
        };
        self.signer.objects(&token, &keys, Some(&pin))?;
        slot.set_login(Login::User(Some(pin)));
        Ok(())
    }

    pub(crate) fn logout(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let session = self.session(handle)?;
        if session.slot.login() == Login::Nobody {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN));
        }
        self.log_out(&session.slot);
        Ok(())
    }

    pub(crate) fn init_pin(&self, handle: CK_SESSION_HANDLE, new: &[u8]) -> Result<()> {
        let session = self.session(handle)?;
        let Login::SecurityOfficer(so_pin) = session.slot.login() else {
            return Err(Rv(CKR_USER_NOT_LOGGED_IN));
        };
        let token = self.token(&session.slot)?;
        self.signer.reset_pin(&token, &so_pin, &pin(new)?)
    }

    pub(crate) fn set_pin(&self, handle: CK_SESSION_HANDLE, old: &[u8], new: &[u8]) -> Result<()> {
        let session = self.session(handle)?;
        session.need_rw()?;
        let (token, old, new) = (self.token(&session.slot)?, pin(old)?, pin(new)?);
        match session.slot.login() {
            Login::SecurityOfficer(_) => {
                self.signer.change_so_pin(&token, &old, &new)?;
                session.slot.set_login(Login::SecurityOfficer(new));
            }
            login => {
                self.signer.change_pin(&token, &old, &new)?;
                if let Login::User(Some(_)) = login {
                    session.slot.set_login(Login::User(Some(new)));
                    lock(&self.objects).forget_details(session.slot.id);
                }
            }
        }
        Ok(())
    }
}

fn pin(bytes: &[u8]) -> Result<Pin> {
    if bytes.len() > slot::MAX_PIN_LEN {
        return Err(Rv(CKR_PIN_LEN_RANGE));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Rv(CKR_PIN_INVALID))?;
    Pin::new(text.to_owned()).map_err(|_| Rv(CKR_PIN_LEN_RANGE))
}
