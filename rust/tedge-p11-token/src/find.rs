//! Finding objects on tokens by URI. It never guesses: what leaves several is an error.

use std::sync::{Arc, OnceLock};

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{ObjectType, PublicKey, Uri, hex};

use crate::access::Access;
use crate::error::{Error, Result};
use crate::key::{Key, KeyKind};
use crate::mechanism;
use crate::module::Module;
use crate::public_key;
use crate::token::{Token, unpadded};

/// Which private key is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // it lives for one request
pub enum KeySelector {
    /// The one that the URI leaves.
    Uri(Uri),
    /// The first one found, for a request without a URI on a signer without one.
    First,
}

/// A key object in a listing.
#[derive(Clone, Debug)]
pub struct KeyObject {
    /// `Private` or `Public`.
    pub object_type: ObjectType,
    /// `RSA`, `EC`, `EC_EDWARDS` or another name of a `CKK_` constant, without the prefix.
    pub key_type: String,
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// URI of the object.
    pub uri: Uri,
}

impl KeySelector {
    pub(crate) fn uri(&self) -> Option<&Uri> {
        match self {
            Self::Uri(uri) => Some(uri),
            Self::First => None,
        }
    }

    /// The same for every selector that means the same; holds no PIN.
    pub(crate) fn cache_key(&self) -> String {
        self.uri().map(ToString::to_string).unwrap_or_default()
    }
}

impl Module {
    /// The key objects that `uri` leaves on the token that it names. Private ones are listed when
    /// the token shows them without a login or the PIN opens it.
    pub fn keys_on_token(&self, uri: &Uri, access: Access<'_>) -> Result<Vec<KeyObject>> {
        self.attempt(|| {
            let token = self.token(uri)?;
            access.check(&token)?;
            let mut keys = Vec::new();
            for (object_type, class) in CLASSES {
                if uri.object_type.is_some_and(|wanted| wanted != object_type) {
                    continue;
                }
                let found = token.search(access.pin, None, |session, _| {
                    let handles = find(&token, session, class, uri)?;
                    handles
                        .into_iter()
                        .map(|handle| describe(&token, session, handle, object_type))
                        .collect::<Result<Vec<_>>>()
                })?;
                keys.extend(found.into_iter().map(|object| object.listed));
            }
            Ok(keys)
        })
    }
}

/// The private key that `selector` names.
pub(crate) fn private_key(
    module: &Module,
    selector: &KeySelector,
    access: Access<'_>,
) -> Result<Key> {
    match selector {
        KeySelector::Uri(uri) => {
            check_type(uri, &[ObjectType::Private], "type=private")?;
            let token = module.token(uri)?;
            access.check(&token)?;
            token.search(access.pin, None, |session, generation| {
                named(&token, session, generation, uri)
            })
        }
        KeySelector::First => {
            let tokens = module.matching_tokens(&Uri::default())?;
            // Which of them the PIN belongs to can't be guessed without spending tries.
            if tokens.len() > 1 && tokens.iter().any(|token| token.info().login_required) {
                return Err(Error::SeveralTokens {
                    uri: Uri::default(),
                    tokens: tokens.iter().map(|token| token.uri()).collect(),
                });
            }
            let mut refused = None;
            for token in tokens {
                if let Err(error) = access.check(&token) {
                    refused = Some(error);
                    continue;
                }
                let found = token.search(access.pin, None, |session, generation| {
                    first(&token, session, generation)
                })?;
                if let Some(key) = found {
                    if module.first_key_warning.is_due() {
                        log::warn!(
                            "no URI configured or sent: taking the first key, {}",
                            key.uri
                        );
                    }
                    return Ok(key);
                }
            }
            Err(refused.unwrap_or(Error::NoKeyAtAll))
        }
    }
}

/// The public key that belongs to a private one: of the private key object itself where the module
/// allows, otherwise of the public key objects with the same id and label, or else the same id. They
/// must agree.
pub(crate) fn public_key(session: &Session, key: &Key) -> Result<PublicKey> {
    let read = |object| {
        public_key::read(session, object, key.kind).map_err(|error| key.token.error(&error))
    };
    if let Some(own) = read(key.handle)? {
        return Ok(own);
    }
    let same_name = Uri {
        id: key.uri.id.clone(),
        object: key.uri.object.clone(),
        ..Uri::default()
    };
    let same_id = Uri {
        object: None,
        ..same_name.clone()
    };
    for wanted in [same_name, same_id] {
        if !wanted.names_object() {
            continue;
        }
        let mut found = Vec::new();
        for object in find(&key.token, session, ObjectClass::PUBLIC_KEY, &wanted)? {
            found.extend(read(object)?);
        }
        found.dedup();
        match found.len() {
            0 => {}
            1 => return Ok(found.remove(0)),
            _ => return Err(Error::SeveralPublicKeys(key.uri.clone())),
        }
    }
    Err(Error::NoPublicKey(key.uri.clone()))
}

/// The public key of the one public key object that `uri` leaves, if there is any.
pub(crate) fn public_object(module: &Module, uri: &Uri) -> Result<Option<(Uri, PublicKey)>> {
    let keys = [ObjectType::Private, ObjectType::Public];
    check_type(uri, &keys, "type=private or type=public")?;
    let token = module.token(uri)?;
    token.search_public(|session| {
        let objects = find(&token, session, ObjectClass::PUBLIC_KEY, uri)?
            .into_iter()
            .map(|handle| describe(&token, session, handle, ObjectType::Public))
            .collect::<Result<Vec<_>>>()?;
        match objects.as_slice() {
            [] => Ok(None),
            [object] => {
                is_what_was_asked_for(&token, object, uri)?;
                let kind = kind(&token, session, object)?;
                let found = public_key::read(session, object.handle, kind)
                    .map_err(|error| token.error(&error))?;
                Ok(found.map(|found| (object.listed.uri.clone(), found)))
            }
            several => Err(Error::SeveralKeys {
                uri: uri.clone(),
                keys: several.iter().map(|o| o.listed.uri.clone()).collect(),
            }),
        }
    })
}

/// The objects of a class with the label and id of `uri`.
pub(crate) fn find(
    token: &Token,
    session: &Session,
    class: ObjectClass,
    uri: &Uri,
) -> Result<Vec<ObjectHandle>> {
    find_with(token, session, vec![Attribute::Class(class)], uri)
}

/// The objects with the attributes `template`, and the label and id of `uri`.
pub(crate) fn find_with(
    token: &Token,
    session: &Session,
    mut template: Vec<Attribute>,
    uri: &Uri,
) -> Result<Vec<ObjectHandle>> {
    template.push(Attribute::Token(true));
    if let Some(id) = &uri.id {
        template.push(Attribute::Id(id.clone()));
    }
    if let Some(label) = &uri.object {
        template.push(Attribute::Label(label.clone().into_bytes()));
    }
    session
        .find_objects(&template)
        .map_err(|error| token.error(&error))
}

pub(crate) fn check_type(uri: &Uri, allowed: &[ObjectType], needed: &'static str) -> Result<()> {
    match uri.object_type {
        Some(given) if !allowed.contains(&given) => Err(Error::WrongType {
            uri: uri.clone(),
            given: given.name(),
            needed,
        }),
        _ => Ok(()),
    }
}

/// What the token says of an object.
pub(crate) struct Object {
    pub(crate) handle: ObjectHandle,
    pub(crate) listed: KeyObject,
    key_type: Option<KeyType>,
    ec_params: Option<Vec<u8>>,
    can_sign: bool,
    always_authenticate: bool,
}

pub(crate) fn describe(
    token: &Token,
    session: &Session,
    handle: ObjectHandle,
    object_type: ObjectType,
) -> Result<Object> {
    let wanted = [
        AttributeType::KeyType,
        AttributeType::Label,
        AttributeType::Id,
        AttributeType::EcParams,
        AttributeType::Sign,
        AttributeType::AlwaysAuthenticate,
    ];
    let mut always_authenticate = false;
    let (mut key_type, mut label, mut id, mut ec_params) = (None, Vec::new(), Vec::new(), None);
    let mut can_sign = true;
    let attributes = session
        .get_attributes(handle, &wanted)
        .map_err(|error| token.error(&error))?;
    for attribute in attributes {
        match attribute {
            Attribute::KeyType(value) => key_type = Some(value),
            Attribute::Label(value) => label = value,
            Attribute::Id(value) => id = value,
            Attribute::EcParams(value) => ec_params = Some(value),
            Attribute::Sign(value) => can_sign = value,
            Attribute::AlwaysAuthenticate(value) => always_authenticate = value,
            _ => {}
        }
    }
    let (label, uri) = name(token, object_type, &id, &label);
    let key_type_name = key_type.map_or_else(
        || "unknown".to_owned(),
        |key_type| key_type.to_string().trim_start_matches("CKK_").to_owned(),
    );
    Ok(Object {
        handle,
        listed: KeyObject {
            object_type,
            key_type: key_type_name,
            label,
            id,
            uri,
        },
        key_type,
        ec_params,
        can_sign,
        always_authenticate,
    })
}

/// Label and URI of an object with this `CKA_ID` and `CKA_LABEL`.
pub(crate) fn name(
    token: &Token,
    object_type: ObjectType,
    id: &[u8],
    label: &[u8],
) -> (String, Uri) {
    let label = String::from_utf8_lossy(label);
    let label = label.trim_end_matches('\0').to_owned();
    let uri = Uri {
        id: (!id.is_empty()).then(|| id.to_vec()),
        object: (!label.is_empty()).then(|| label.clone()),
        object_type: Some(object_type),
        ..token.uri()
    };
    (label, uri)
}

/// The one private key of the token that `uri` leaves.
pub(crate) fn named(
    token: &Arc<Token>,
    session: &Session,
    generation: u64,
    uri: &Uri,
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

fn first(token: &Arc<Token>, session: &Session, generation: u64) -> Result<Option<Key>> {
    for handle in find(token, session, ObjectClass::PRIVATE_KEY, &Uri::default())? {
        let object = describe(token, session, handle, ObjectType::Private)?;
        if !object.can_sign {
            continue;
        }
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
        .map_err(|error| token.error(&error))?;
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

/// A module that mixes up its handles returns the handle of one object and the attributes of another.
pub(crate) fn is_what_was_asked_for(token: &Token, object: &Object, uri: &Uri) -> Result<()> {
    let found = &object.listed.uri;
    if has_name(found, uri) {
        return Ok(());
    }
    Err(Error::WrongObject {
        token: token.uri(),
        wanted: uri.clone(),
        found: found.clone(),
    })
}

/// Whether an object has the id and the label of `wanted`.
pub(crate) fn has_name(found: &Uri, wanted: &Uri) -> bool {
    let label = |uri: &Uri| {
        uri.object
            .as_deref()
            .map(|label| unpadded(label).to_owned())
    };
    // An empty one is none in the URI of what was found.
    let id = |uri: &Uri| uri.id.clone().unwrap_or_default();
    (wanted.id.is_none() || id(wanted) == id(found))
        && (wanted.object.is_none()
            || label(wanted).unwrap_or_default() == label(found).unwrap_or_default())
}

fn kind(token: &Token, session: &Session, object: &Object) -> Result<KeyKind> {
    let unsupported = || Error::UnsupportedKeyType {
        key: object.listed.uri.clone(),
        key_type: object.listed.key_type.clone(),
    };
    let key_type = object.key_type.ok_or_else(unsupported)?;
    let mut ec_params = object.ec_params.clone().filter(|params| !params.is_empty());
    if ec_params.is_none() && key_type != KeyType::RSA {
        // Some modules tell the curve of the public key object only.
        let same = Uri {
            id: object.listed.uri.id.clone(),
            object: object.listed.uri.object.clone(),
            ..Uri::default()
        };
        for handle in find(token, session, ObjectClass::PUBLIC_KEY, &same)? {
            let public = describe(token, session, handle, ObjectType::Public)?;
            ec_params = ec_params.or(public.ec_params);
        }
    }
    public_key::kind_of(key_type, ec_params.as_deref())
        .ok_or_else(unsupported)?
        .map_err(|params| Error::UnknownCurve {
            key: object.listed.uri.clone(),
            params: hex(&params),
        })
}

pub(crate) const CLASSES: [(ObjectType, ObjectClass); 2] = [
    (ObjectType::Private, ObjectClass::PRIVATE_KEY),
    (ObjectType::Public, ObjectClass::PUBLIC_KEY),
];
