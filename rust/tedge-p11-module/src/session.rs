//! Sessions, and what is under way in each: one search and one signature at most.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;
use tedge_p11_client::{PrivateKey as _, SignatureScheme, SocketKey};
use tedge_p11_protocol::MAX_REQUEST_LEN;
use zeroize::Zeroizing;

use crate::mechanism::How;
use crate::object::Object;
use crate::rv::{Result, Rv};
use crate::signature;
use crate::signer::failed;
use crate::slot::{Login, Slot};

/// A session.
pub(crate) struct Session {
    pub(crate) slot: Arc<Slot>,
    pub(crate) rw: bool,
    active: Mutex<Active>,
}

/// What is under way.
#[derive(Default)]
pub(crate) struct Active {
    /// What C_FindObjects has still to return.
    pub(crate) found: Option<VecDeque<CK_OBJECT_HANDLE>>,
    pub(crate) signing: Option<Signing>,
}

/// A signature that is being made.
pub(crate) struct Signing {
    pub(crate) object: Arc<Object>,
    pub(crate) key: Arc<SocketKey>,
    pub(crate) how: How,
    /// Bytes of the signature.
    pub(crate) len: usize,
    /// Whether the signer's form differs: ECDSA.
    pub(crate) is_ecdsa: bool,
    /// What C_SignUpdate has brought.
    pub(crate) message: Zeroizing<Vec<u8>>,
    /// Whether it has.
    pub(crate) in_parts: bool,
}

impl Session {
    pub(crate) fn new(slot: Arc<Slot>, rw: bool) -> Self {
        Self {
            slot,
            rw,
            active: Mutex::default(),
        }
    }

    /// For the moment that it takes to look: no request is made under this lock.
    pub(crate) fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What C_GetSessionInfo returns.
    pub(crate) fn info(&self) -> CK_SESSION_INFO {
        let state = match (self.slot.login(), self.rw) {
            (Login::Nobody, false) => CKS_RO_PUBLIC_SESSION,
            (Login::Nobody, true) => CKS_RW_PUBLIC_SESSION,
            (Login::User(_), false) => CKS_RO_USER_FUNCTIONS,
            (Login::User(_), true) => CKS_RW_USER_FUNCTIONS,
            (Login::SecurityOfficer(_), _) => CKS_RW_SO_FUNCTIONS,
        };
        let rw = if self.rw { CKF_RW_SESSION } else { 0 };
        CK_SESSION_INFO {
            slotID: self.slot.id,
            state,
            flags: CKF_SERIAL_SESSION | rw,
            ulDeviceError: 0,
        }
    }

    /// Ends with [`CKR_SESSION_READ_ONLY`] in a session that may change nothing.
    pub(crate) fn need_rw(&self) -> Result<()> {
        self.rw.then_some(()).ok_or(Rv(CKR_SESSION_READ_ONLY))
    }
}

impl Signing {
    /// Takes one more part, as long as all fit into a request.
    pub(crate) fn add(&mut self, part: &[u8]) -> Result<()> {
        self.in_parts = true;
        if part.len() > MAX_REQUEST_LEN - self.message.len() {
            return Err(Rv(CKR_DATA_LEN_RANGE));
        }
        // Grown by hand: a vector that moves leaves what it held behind.
        let len = self.message.len() + part.len();
        if len > self.message.capacity() {
            let mut larger =
                Zeroizing::new(Vec::with_capacity(len.max(2 * self.message.capacity())));
            larger.extend_from_slice(&self.message);
            self.message = larger;
        }
        self.message.extend_from_slice(part);
        Ok(())
    }

    /// Has `message` signed.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = match self.how {
            How::Message(scheme) => self.key.sign(scheme, message),
            how => {
                let (scheme, digest) = self.digest(how, message)?;
                self.key.sign_digest(scheme, digest)
            }
        };
        let signature = signature.map_err(|error| {
            // The key may be another one by now.
            self.object.forget();
            failed("sign", &self.object.listed.uri, &error)
        })?;
        if self.is_ecdsa {
            return signature::plain_ecdsa(&signature, self.len / 2);
        }
        (signature.len() == self.len)
            .then_some(signature)
            .ok_or(Rv(CKR_DEVICE_ERROR))
    }

    /// The scheme and the digest in what a program gives to a mechanism that signs digests.
    fn digest<'m>(&self, how: How, data: &'m [u8]) -> Result<(SignatureScheme, &'m [u8])> {
        match how {
            How::Message(scheme) | How::PssDigest(scheme) => Ok((scheme, data)),
            How::EcdsaDigest => {
                let of_curve = self.key.schemes().first();
                let scheme = of_curve.ok_or(Rv(CKR_MECHANISM_INVALID))?;
                let is_digest = matches!(data.len(), 32 | 48 | 64);
                is_digest
                    .then_some((*scheme, data))
                    .ok_or(Rv(CKR_DATA_LEN_RANGE))
            }
            How::Pkcs1Digest => signature::digest_info(data),
        }
    }
}
