//! Objects on a token: searching for them, and what the token says of them.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{ObjectType, Uri, hex};

use crate::error::{Error, Result};
use crate::key_kind::{KeyKind, MlDsa};
use crate::public_key;
use crate::token::Token;
use crate::token_info::unpadded;

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
        .map_err(|error| token.error(error))
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
    pub(crate) can_sign: bool,
    pub(crate) always_authenticate: bool,
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
        .map_err(|error| token.error(error))?;
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

pub(crate) fn kind(token: &Token, session: &Session, object: &Object) -> Result<KeyKind> {
    let unsupported = || Error::UnsupportedKeyType {
        key: object.listed.uri.clone(),
        key_type: object.listed.key_type.clone(),
    };
    let key_type = object.key_type.ok_or_else(unsupported)?;
    if key_type == KeyType::ML_DSA {
        return ml_dsa(token, session, object).map(KeyKind::MlDsa);
    }
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

/// `CKA_PARAMETER_SET`, which is asked for apart: modules older than PKCS#11 3.2 do not know it.
fn ml_dsa(token: &Token, session: &Session, object: &Object) -> Result<MlDsa> {
    let wanted = [AttributeType::ParameterSet];
    let told = session
        .get_attributes(object.handle, &wanted)
        .map_err(|error| token.error(error))?
        .pop();
    let set = match told {
        Some(Attribute::ParameterSet(number)) => MlDsa::from_parameter_set(number),
        _ => None,
    };
    set.ok_or_else(|| Error::UnsupportedKeyType {
        key: object.listed.uri.clone(),
        key_type: "ML-DSA with a parameter set that is not known".to_owned(),
    })
}

pub(crate) const CLASSES: [(ObjectType, ObjectClass); 2] = [
    (ObjectType::Private, ObjectClass::PRIVATE_KEY),
    (ObjectType::Public, ObjectClass::PUBLIC_KEY),
];
