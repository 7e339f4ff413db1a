//! A key whose last signature is remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tedge_p11_protocol::{PublicKey, SignatureScheme, Uri};

use crate::error::Error;
use crate::key::PrivateKey;

/// Remembers how the last signature with a [`PrivateKey`] went: rustls tells of a handshake only, and has
/// of an error only the words.
#[derive(Debug)]
pub struct WatchedKey {
    key: Arc<dyn PrivateKey>,
    last: Mutex<Option<Signing>>,
}

/// One call of [`PrivateKey::sign`].
#[derive(Clone, Debug)]
pub struct Signing {
    /// What was signed with.
    pub scheme: SignatureScheme,
    /// How long it took.
    pub duration: Duration,
    /// Why there is no signature, if there is none.
    pub failure: Option<String>,
}

impl WatchedKey {
    /// Watches `key`.
    #[must_use]
    pub fn new(key: Arc<dyn PrivateKey>) -> Self {
        Self {
            key,
            last: Mutex::default(),
        }
    }

    /// The last one, if there was any.
    #[must_use]
    pub fn last(&self) -> Option<Signing> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Signing>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PrivateKey for WatchedKey {
    fn uri(&self) -> &Uri {
        self.key.uri()
    }

    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.key.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        let started = Instant::now();
        let result = self.key.sign(scheme, message);
        *self.lock() = Some(Signing {
            scheme,
            duration: started.elapsed(),
            failure: result.as_ref().err().map(ToString::to_string),
        });
        result
    }
}
