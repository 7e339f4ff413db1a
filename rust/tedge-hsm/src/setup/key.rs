//! The key.

use anyhow::{Context as _, bail};
use tedge_p11_client::{ObjectType, Uri};

use super::context::{PIV_AUTHENTICATION, Setup};
use super::state_folder::StateFolder;
use super::step::{State, Step};
use crate::new_key::NewKey;
use crate::profile::Made;

pub(super) struct Key;

impl Step for Key {
    fn name(&self) -> &'static str {
        "key"
    }

    fn aim(&self, setup: &Setup) -> String {
        match setup.key_made() {
            Made::Here => {
                let new = new_key(setup);
                format!("make a key {:?} of type {}", new.label, new.spec())
            }
            Made::By(_) | Made::Before(_) => "look for the key".to_owned(),
        }
    }

    fn asks_the_signer(&self) -> bool {
        true
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        Ok(match uri(setup)? {
            Some(uri) => State::Done(uri.to_string()),
            None => State::ToDo(self.aim(setup)),
        })
    }

    fn run(&self, setup: &Setup, _: Option<&StateFolder>) -> anyhow::Result<String> {
        let uri = new_key(setup).make(&setup.store()?, None)?;
        Ok(uri.to_string())
    }
}

/// The URI of the key, if it is there.
pub(super) fn uri(setup: &Setup) -> anyhow::Result<Option<Uri>> {
    let store = setup.store()?;
    let how = match setup.key_made() {
        Made::Here => return new_key(setup).find(&store, None),
        Made::Before(how) => {
            let new = new_key(setup);
            return match new.find(&store, None)? {
                Some(uri) => Ok(Some(uri)),
                None => bail!("there is no key {:?} in the token: {how}", new.label),
            };
        }
        Made::By(how) => how,
    };
    let slot = Uri {
        id: Some(PIV_AUTHENTICATION.to_vec()),
        object_type: Some(ObjectType::Private),
        ..Uri::default()
    };
    let mut keys = store.keys(Some(&slot), None)?.into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(Some(key.uri.parse()?)),
        (None, _) => bail!("there is no key in the token: {how}"),
        (Some(_), Some(_)) => {
            bail!("there are several keys with id 01; leave one token plugged in")
        }
    }
}

fn new_key(setup: &Setup) -> NewKey {
    let settings = &setup.wanted.settings;
    NewKey {
        label: settings.key.clone(),
        key_type: settings.key_type,
        id: None,
        token: Some(setup.token_uri()),
        instead: "give the label of another key by --key, or leave --key-type out",
    }
}

/// The one key, as something that must be there by now.
pub(super) fn existing(setup: &Setup) -> anyhow::Result<Uri> {
    uri(setup)?.context("there is no key")
}
