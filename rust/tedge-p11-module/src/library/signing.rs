//! Signatures.

use cryptoki_sys::*;
use tedge_p11_client::PrivateKey as _;
use zeroize::Zeroizing;

use super::Library;
use crate::attribute::{Class, Details};
use crate::mechanism::{How, Mechanism};
use crate::refusal;
use crate::rv::{Result, Rv};
use crate::session::Signing;

impl Library {
    pub(crate) fn sign_init(
        &self,
        handle: CK_SESSION_HANDLE,
        mechanism: &Mechanism,
        key: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let session = self.session(handle)?;
        if session.active().signing.is_some() {
            return Err(Rv(CKR_OPERATION_ACTIVE));
        }
        let object = self.object(&session, key, CKR_KEY_HANDLE_INVALID)?;
        match object.listed.class {
            Class::PrivateKey => {}
            Class::PublicKey => return Err(Rv(CKR_KEY_FUNCTION_NOT_PERMITTED)),
            Class::Certificate => return Err(Rv(CKR_KEY_HANDLE_INVALID)),
        }
        let how = mechanism.how(object.listed.key_type)?;
        let pin = session.slot.pin();
        let (key, details) = object.key(&self.signer, pin.as_ref())?;
        let Details::Key(details) = &*details else {
            return Err(Rv(CKR_KEY_HANDLE_INVALID));
        };
        let can = match how {
            // Otherwise it is another curve than the one that TLS has for the hash, or the token lacks it.
            How::Message(scheme) => key.schemes().contains(&scheme),
            _ if key.signs_digests() => true,
            _ => {
                // What the signer would say, if it were asked.
                refusal::tell(
                    "sign",
                    format_args!(
                        "the program made a digest itself and wants that signed with {}: nobody can tell which \
                         message it stands for, and no rule that covers the key has the purpose digest",
                        object.listed.uri
                    ),
                );
                false
            }
        };
        if !can {
            return Err(Rv(CKR_MECHANISM_INVALID));
        }
        session.active().signing = Some(Signing {
            len: details.numbers.signature_len(),
            is_ecdsa: object.listed.key_type == CKK_EC,
            object,
            key,
            how,
            message: Zeroizing::default(),
            in_parts: false,
        });
        Ok(())
    }

    /// Ends a signature that is under way, without one.
    pub(crate) fn sign_cancel(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        self.session(handle)?.active().signing = None;
        Ok(())
    }

    /// Bytes of the signature that is under way. A C_Sign that wants them leaves it so.
    pub(crate) fn signature_len(&self, handle: CK_SESSION_HANDLE, at_once: bool) -> Result<usize> {
        let session = self.session(handle)?;
        let active = session.active();
        let signing = active.signing.as_ref();
        let signing = signing.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        if at_once && signing.in_parts {
            return Err(Rv(CKR_OPERATION_ACTIVE));
        }
        Ok(signing.len)
    }

    pub(crate) fn sign_update(&self, handle: CK_SESSION_HANDLE, part: &[u8]) -> Result<()> {
        let session = self.session(handle)?;
        let mut active = session.active();
        let signing = active.signing.as_mut();
        let result = signing.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?.add(part);
        if result.is_err() {
            active.signing = None;
        }
        result
    }

    /// Signs `message`, or what C_SignUpdate has brought; with that the operation ends.
    pub(crate) fn sign(
        &self,
        handle: CK_SESSION_HANDLE,
        message: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let session = self.session(handle)?;
        let signing = session.active().signing.take();
        let signing = signing.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        signing.sign(message.unwrap_or(&signing.message))
    }

    /// What C_SessionCancel ends.
    pub(crate) fn cancel(&self, handle: CK_SESSION_HANDLE, flags: CK_FLAGS) -> Result<()> {
        let session = self.session(handle)?;
        let mut active = session.active();
        if flags & CKF_SIGN != 0 {
            active.signing = None;
        }
        if flags & CKF_FIND_OBJECTS != 0 {
            active.found = None;
        }
        Ok(())
    }
}
