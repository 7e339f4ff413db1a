//! Finding keys on a token. It never guesses: what leaves several is an error.

use std::sync::{Arc, OnceLock};

use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use tedge_p11_protocol::{ObjectType, PublicKey, Uri};

use crate::access::Access;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::mechanism;
use crate::object::{Object, describe, find, is_what_was_asked_for, kind};
use crate::public_key;
use crate::token::Token;

/// The one private key of the token that `uri` leaves.
pub(crate) fn named(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    uri: &Uri,
    access: Access<'_>,
) -> Result<Key> {
    let private = |uri: &Uri| -> Result<Vec<Object>> {
        find(token, session, ObjectClass::PRIVATE_KEY, uri)?
            .into_iter()
            .map(|handle| describe(token, session, handle, ObjectType::Private))
            .collect()
    };
    let uris = |objects: Vec<Object>| objects.into_iter().map(|o| o.listed.uri).collect();
    let mut found = private(uri)?;
    match (found.pop(), found.is_empty()) {
        (Some(object), true) => {
            is_what_was_asked_for(token, &object, uri)?;
            access.check_key(&object.listed.uri)?;
            usable(token, session, generation, object)
        }
        (None, _) => Err(Error::NoKey {
            what: "private key",
            uri: uri.clone(),
            token: token.uri(),
            keys: uris(private(&Uri::default())?),
        }),
        (Some(last), false) => {
            found.push(last);
            Err(Error::SeveralKeys {
                uri: uri.clone(),
                keys: uris(found),
            })
        }
    }
}

/// The first private key of the token that can sign for TLS.
pub(crate) fn first(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    access: Access<'_>,
) -> Result<Option<Key>> {
    for handle in find(token, session, ObjectClass::PRIVATE_KEY, &Uri::default())? {
        let object = describe(token, session, handle, ObjectType::Private)?;
        if !object.can_sign {
            continue;
        }
        access.check_key(&object.listed.uri)?;
        match usable(token, session, generation, object) {
            Ok(key) => return Ok(Some(key)),
            Err(error @ Error::Pkcs11 { .. }) => return Err(error),
            Err(error) => log::debug!("passed over: {error}"),
        }
    }
    Ok(None)
}

/// A key out of an object, if it is one that can sign for TLS.
fn usable(token: &Arc<Token>, session: &Session, generation: u64, object: Object) -> Result<Key> {
    let kind = kind(token, session, &object)?;
    let recipes = mechanism::recipes(token.pkcs11(), token.slot(), kind)
        .map_err(|error| token.error(error))?;
    if recipes.is_empty() {
        return Err(Error::NoMechanism {
            token: token.uri(),
            key: object.listed.uri,
        });
    }
    Ok(Key {
        token: token.clone(),
        handle: object.handle,
        generation,
        uri: object.listed.uri,
        kind,
        always_authenticate: object.always_authenticate,
        recipes,
        public_key: OnceLock::new(),
    })
}

/// The public key of the one public key object of the token that `uri` leaves, if there is any.
pub(crate) fn public_object(token: &Token, uri: &Uri) -> Result<Option<(Uri, PublicKey)>> {
    token.search_public(|session| {
        let objects = find(token, session, ObjectClass::PUBLIC_KEY, uri)?
            .into_iter()
            .map(|handle| describe(token, session, handle, ObjectType::Public))
            .collect::<Result<Vec<_>>>()?;
        match objects.as_slice() {
            [] => Ok(None),
            [object] => {
                is_what_was_asked_for(token, object, uri)?;
                let kind = kind(token, session, object)?;
                let found = public_key::read(session, object.handle, kind)
                    .map_err(|error| token.error(error))?;
                Ok(found.map(|found| (object.listed.uri.clone(), found)))
            }
            several => Err(Error::SeveralKeys {
                uri: uri.clone(),
                keys: several.iter().map(|o| o.listed.uri.clone()).collect(),
            }),
        }
    })
}
