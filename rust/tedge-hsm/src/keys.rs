//! The keys of a store, with the PIN that was given.

use std::sync::Arc;

use tedge_p11_client::{Pin, PrivateKey, Uri};

use crate::pins;
use crate::place::Place;
use crate::store::Store;

/// Where the keys are, and the PIN.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) store: &'a Store,
    pub(crate) place: &'a Place,
}

impl Keys<'_> {
    /// The private key that `uri` leaves.
    pub(crate) fn find(&self, uri: Option<&Uri>) -> anyhow::Result<Arc<dyn PrivateKey>> {
        let mut uri = uri.cloned();
        let pin = pins::given(self.place.pin_file.as_deref(), uri.as_mut())?;
        self.store.private_key(uri.as_ref(), pin)
    }

    /// The PIN, if one was given beside URIs.
    pub(crate) fn pin(&self) -> anyhow::Result<Option<Pin>> {
        pins::given(self.place.pin_file.as_deref(), None)
    }
}
