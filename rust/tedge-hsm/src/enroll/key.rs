//! The device's key: the one that is there, or a new one.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tedge_p11_client::{PrivateKey, Uri};

use super::cloud::Cloud;
use super::options::Options;
use crate::key_type::KeyType;
use crate::keys::Keys;
use crate::new_key::NewKey;
use crate::refused;

/// The key that is wanted, by what the options say and what the token has.
pub(super) struct Wanted {
    /// The one that is there.
    pub(super) found: Option<Arc<dyn PrivateKey>>,
    /// By which it is found again.
    pub(super) uri: Uri,
}

/// Looks for the key.
pub(super) fn find(keys: Keys<'_>, options: &Options) -> anyhow::Result<Wanted> {
    let uri = wanted(options)?;
    // By a list, in which a key that is not there is no error: other errors would look like that.
    let listed = keys.store.keys(Some(&uri), keys.pin()?.as_ref())?;
    let mut private = listed.iter().filter(|key| key.class == "private");
    let found = match (private.next(), private.next()) {
        (None, _) => None,
        // The signer knows which of several it takes, or says so.
        (Some(_), _) => Some(keys.find(Some(&uri))?),
    };
    if found.is_none() && uri.object.is_none() {
        bail!("there is no key {uri}");
    }
    Ok(Wanted { found, uri })
}

/// The key that the options name.
pub(super) fn wanted(options: &Options) -> anyhow::Result<Uri> {
    let mut uri = options.key_uri()?.unwrap_or_default();
    if uri.object.is_none() && uri.id.is_none() {
        uri.object = Some(options.key_label().to_owned());
    }
    Ok(uri)
}

/// Whether there may be such a key: what can't be asked counts as that.
pub(super) fn is_there(keys: Keys<'_>, uri: &Uri) -> bool {
    let pin = keys.pin().ok().flatten();
    let listed = keys.store.keys(Some(uri), pin.as_ref());
    listed.map_or(true, |listed| !listed.is_empty())
}

/// The key that `uri` leaves, made if it is not there. The URI has an id, so that no run makes a second one.
pub(super) fn find_or_make(
    keys: Keys<'_>,
    uri: &Uri,
    options: &Options,
    cloud: &dyn Cloud,
) -> anyhow::Result<Arc<dyn PrivateKey>> {
    let pin = keys.pin()?;
    let listed = keys.store.keys(Some(uri), pin.as_ref())?;
    if listed.iter().any(|key| key.class == "private") {
        return keys.find(Some(uri));
    }
    let key_type = match options.key_type {
        Some(key_type) => key_type,
        None => cloud.key_type()?.unwrap_or(KeyType::P256),
    };
    let new = NewKey {
        label: uri.object.clone().context("the key has no label")?,
        key_type,
        id: uri.id.clone(),
        token: Some(uri.token_part()),
        instead: "give the label of another key by --key",
    };
    match new.make(keys.store, pin.as_ref()) {
        Err(error) if refused::is_refusal(&error) => Err(error.context(
            "the signer's policy does not let this user make a key: have root make it first (tedge-hsm setup, or \
             tedge-hsm create-key), or add a rule with the operation create-key",
        )),
        // The signer may have been about to make it for a run that was killed.
        Err(error) => keys.find(Some(uri)).map_err(|_| error),
        Ok(_) => keys.find(Some(uri)),
    }
}
