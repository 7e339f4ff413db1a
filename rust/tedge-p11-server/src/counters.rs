//! What the signer has done since it started.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use crate::service::Failure;
use tedge_p11_config::Operation;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) signatures: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    last_error: Mutex<String>,
}

impl Counters {
    pub(crate) fn count(&self, operation: Option<Operation>, failure: Option<&Failure>) {
        self.requests.fetch_add(1, Relaxed);
        match failure {
            None if operation == Some(Operation::Sign) => {
                self.signatures.fetch_add(1, Relaxed);
            }
            None => {}
            Some(failure) if failure.refused => {
                self.refused.fetch_add(1, Relaxed);
            }
            Some(failure) => {
                self.failed.fetch_add(1, Relaxed);
                let mut last = self.lock();
                last.clone_from(&failure.message);
            }
        }
    }

    /// Empty if there was none.
    pub(crate) fn last_error(&self) -> String {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
