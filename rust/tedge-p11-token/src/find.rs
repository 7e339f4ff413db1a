//! Finding keys on a token. It never guesses: of several that a URI leaves, the one is meant that the installed
//! certificate is for; without such a certificate, several are an error.

use std::sync::{Arc, OnceLock};

use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use tedge_p11_protocol::{ObjectType, PublicKey, Uri};

use crate::access::Access;
use crate::error::{Error, Result};
use crate::installed::{Found, Installed};
use crate::key::{Choice, Key, read_public_key};
use crate::mechanism;
use crate::object::{Object, describe, find, is_what_was_asked_for, kind};
use crate::public_key;
use crate::token::Token;
use crate::unclear::Unclear;

/// The one private key of the token that `uri` leaves.
pub(crate) fn named(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    uri: &Uri,
    access: Access<'_>,
    installed: &Installed,
) -> Result<Key> {
    let private = |uri: &Uri| -> Result<Vec<Object>> {
        find(token, session, ObjectClass::PRIVATE_KEY, uri)?
            .into_iter()
            .map(|handle| describe(token, session, handle, ObjectType::Private))
            .collect()
    };
    let uris = |objects: &[Object]| objects.iter().map(|o| o.listed.uri.clone()).collect();
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
            keys: uris(&private(&Uri::default())?),
        }),
        (Some(last), false) => {
            found.push(last);
            let keys = uris(&found);
            let certificate = installed.public_key();
            let chosen = match &certificate {
                Ok(_) => {
                    for object in &found {
                        is_what_was_asked_for(token, object, uri)?;
                    }
                    choose(token, session, generation, found, installed, &certificate)?
                }
                Err(unclear) => Err(unclear.clone()),
            };
            let key = chosen.map_err(|unclear| Error::SeveralKeys {
                uri: uri.clone(),
                keys,
                unclear,
            })?;
            access.check_key(&key.uri)?;
            Ok(key)
        }
    }
}

/// The private key of the token that the installed certificate is for, if there is one.
pub(crate) fn of_certificate(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    access: Access<'_>,
    installed: &Installed,
    certificate: &Found,
) -> Result<Option<Key>> {
    let objects = signing(token, session)?;
    let Ok(key) = choose(token, session, generation, objects, installed, certificate)? else {
        return Ok(None);
    };
    access.check_key(&key.uri)?;
    Ok(Some(key))
}

/// The first private key of the token that can sign for TLS.
pub(crate) fn first(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    access: Access<'_>,
    certificate: &Found,
) -> Result<Option<Key>> {
    for object in signing(token, session)? {
        access.check_key(&object.listed.uri)?;
        if let Some(mut key) = usable_or_none(token, session, generation, object)? {
            key.choice = Choice::ByCertificate(certificate.clone().ok());
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// The private keys of the token that can sign.
fn signing(token: &Token, session: &Session) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for handle in find(token, session, ObjectClass::PRIVATE_KEY, &Uri::default())? {
        let object = describe(token, session, handle, ObjectType::Private)?;
        if object.can_sign {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// The one of `objects` that the installed certificate is for.
fn choose(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    objects: Vec<Object>,
    installed: &Installed,
    certificate: &Found,
) -> Result<std::result::Result<Key, Unclear>> {
    let mut keys = Vec::new();
    let mut public_keys = Vec::new();
    for object in objects {
        let Some(key) = usable_or_none(token, session, generation, object)? else {
            continue;
        };
        match read_public_key(session, &key) {
            Ok(public_key) => {
                keys.push(key);
                public_keys.push(public_key);
            }
            Err(error @ Error::Pkcs11 { .. }) => return Err(error),
            Err(error) => log::debug!("passed over: {error}"),
        }
    }
    Ok(installed.choose(certificate, &public_keys).map(|at| {
        let mut key = keys.swap_remove(at);
        key.choice = Choice::ByCertificate(certificate.clone().ok());
        // It is a new key: nothing is there yet.
        let _ = key.public_key.set(public_keys.swap_remove(at));
        key
    }))
}

/// A key out of an object, if it is one that can sign for TLS; none if the token does not know how.
fn usable_or_none(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    object: Object,
) -> Result<Option<Key>> {
    match usable(token, session, generation, object) {
        Ok(key) => Ok(Some(key)),
        Err(error @ Error::Pkcs11 { .. }) => Err(error),
        Err(error) => {
            log::debug!("passed over: {error}");
            Ok(None)
        }
    }
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
        choice: Choice::Only,
        public_key: OnceLock::new(),
    })
}

/// The public key of the one public key object of the token that `uri` leaves, if there is any.
pub(crate) fn public_object(
    token: &Token,
    uri: &Uri,
    installed: &Installed,
) -> Result<Option<(Uri, PublicKey)>> {
    token.search_public(|session| {
        let objects = find(token, session, ObjectClass::PUBLIC_KEY, uri)?
            .into_iter()
            .map(|handle| describe(token, session, handle, ObjectType::Public))
            .collect::<Result<Vec<_>>>()?;
        let read = |object: &Object| -> Result<Option<(Uri, PublicKey)>> {
            is_what_was_asked_for(token, object, uri)?;
            let kind = kind(token, session, object)?;
            let found = public_key::read(session, object.handle, kind)
                .map_err(|error| token.error(error))?;
            Ok(found.map(|found| (object.listed.uri.clone(), found)))
        };
        match objects.as_slice() {
            [] => Ok(None),
            [object] => read(object),
            several => {
                let mut found = Vec::new();
                for object in several {
                    match read(object) {
                        Ok(public_key) => found.extend(public_key),
                        Err(error @ Error::Pkcs11 { .. }) => return Err(error),
                        Err(error) => log::debug!("passed over: {error}"),
                    }
                }
                let (uris, keys): (Vec<_>, Vec<_>) = found.iter().cloned().unzip();
                match installed.choose(&installed.public_key(), &keys) {
                    Ok(at) => Ok(Some(found.swap_remove(at))),
                    Err(unclear) => Err(Error::SeveralKeys {
                        uri: uri.clone(),
                        keys: uris,
                        unclear,
                    }),
                }
            }
        }
    })
}
