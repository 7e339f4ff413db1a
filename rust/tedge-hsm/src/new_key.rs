//! A key pair that is to be on a token, and is made only if it is not there yet.

use anyhow::{Context as _, bail};
use rustix::rand::{GetRandomFlags, getrandom};
use tedge_p11_client::{KeySpec, Pin, Uri, hex};

use crate::key_type::KeyType;
use crate::progress::Progress;
use crate::store::{Object, Store};

/// What the key is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) label: String,
    pub(crate) key_type: KeyType,
    /// `CKA_ID`; made at random without.
    pub(crate) id: Option<Vec<u8>>,
    /// URI of its token.
    pub(crate) token: Option<Uri>,
    /// What to do where the label is that of another key, by the options of the command.
    pub(crate) instead: &'static str,
}

impl NewKey {
    /// The URI of the key with the label, the type and the id; an error if the key with the label is another.
    pub(crate) fn find(&self, store: &Store, pin: Option<&Pin>) -> anyhow::Result<Option<Uri>> {
        let mut keys = store.keys(self.token.as_ref(), pin)?;
        keys.retain(|key| key.class == "private" && key.label == self.label);
        if keys.is_empty() {
            return Ok(None);
        }
        self.one_of(store, pin, &keys).map(Some)
    }

    /// Makes it, and returns its URI.
    pub(crate) fn make(&self, store: &Store, pin: Option<&Pin>) -> anyhow::Result<Uri> {
        let _progress = self.key_type.is_slow().then(|| {
            Progress::start("making an RSA key, this can take minutes on a slow token ...")
        });
        store.create_key(
            self.token.as_ref(),
            pin,
            self.spec(),
            &self.label,
            self.id.clone(),
        )
    }

    pub(crate) fn spec(&self) -> KeySpec {
        self.key_type.into()
    }

    /// The one of the keys with the label that is what was asked for.
    fn one_of(&self, store: &Store, pin: Option<&Pin>, keys: &[Object]) -> anyhow::Result<Uri> {
        let wanted = self.spec();
        let wanted_id = self.id.as_deref().map(hex);
        let mut others = Vec::new();
        for key in keys {
            let uri: Uri = key.uri.parse()?;
            let spec = store.public_key(Some(&uri), pin)?.spec();
            if spec == Some(wanted) && wanted_id.as_ref().is_none_or(|id| *id == key.id) {
                return Ok(uri);
            }
            let spec = spec.map_or_else(|| key.object_type.clone(), |spec| spec.to_string());
            others.push(format!("{spec} with id {}", key.id));
        }
        let id = wanted_id.map_or_else(String::new, |id| format!(" with id {id}"));
        bail!(
            "the key labelled {:?} is {}, not {wanted}{id}; {}",
            self.label,
            others.join(" and "),
            self.instead,
        )
    }
}

/// An id for a key that is to be made.
pub(crate) fn new_id() -> anyhow::Result<Vec<u8>> {
    let mut id = [0; ID_LEN];
    getrandom(&mut id, GetRandomFlags::empty()).context("the system gives no random numbers")?;
    Ok(id.to_vec())
}

/// Bytes of `CKA_ID`, as the token crate has them.
const ID_LEN: usize = 20;
