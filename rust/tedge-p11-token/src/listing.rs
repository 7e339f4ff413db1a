//! Keys with all that the token says of them, many at once.

use std::collections::HashMap;

use cryptoki::error::Error as CryptokiError;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{ObjectFlag, ObjectFlags, ObjectType, PublicKey, SignatureScheme, Uri};

use crate::access::Access;
use crate::error::Result;
use crate::key_kind::KeyKind;
use crate::mechanism;
use crate::module::Module;
use crate::object::{CLASSES, KeyObject, describe, find, kind};
use crate::public_key;
use crate::token::Token;

/// A key object, as its token describes it.
#[derive(Clone, Debug)]
pub struct DescribedKey {
    /// What it is called.
    pub object: KeyObject,
    /// What the token tells of the attributes that are true or false.
    pub flags: ObjectFlags,
    /// `CKA_KEY_GEN_MECHANISM`, if the token tells.
    pub made_by: Option<u64>,
    /// `CKA_SUBJECT`; empty if it has none.
    pub subject: Vec<u8>,
    /// Its public key, if that was asked for and the token tells.
    pub public_key: Option<PublicKey>,
    /// What a private key can sign with, in the order that a TLS 1.3 client prefers, if that was asked for.
    pub schemes: Vec<SignatureScheme>,
}

impl Module {
    /// The key objects that `uri` leaves on the token that it names, as
    /// [`keys_on_token`](Self::keys_on_token) lists them; with their public keys if `contents` are wanted.
    pub fn described_keys(
        &self,
        uri: &Uri,
        access: Access<'_>,
        contents: bool,
    ) -> Result<Vec<DescribedKey>> {
        let is_wanted = |object_type| uri.object_type.is_none_or(|wanted| wanted == object_type);
        self.attempt(|| {
            let token = self.token(uri)?;
            access.check(&token.uri())?;
            let mut keys = Vec::new();
            let mut schemes = Schemes::default();
            for (object_type, class) in CLASSES {
                // Many tokens tell the public key of the public key object only.
                let is_source = contents && is_wanted(ObjectType::Private);
                if !is_source && !is_wanted(object_type) {
                    continue;
                }
                let found = token.search(access.pin, None, |session, _| {
                    find(&token, session, class, uri)?
                        .into_iter()
                        .map(|handle| {
                            let contents = contents.then_some(&mut schemes);
                            described(&token, session, handle, object_type, contents)
                        })
                        .collect::<Result<Vec<_>>>()
                })?;
                keys.extend(found);
            }
            complete(&mut keys);
            keys.retain(|key| is_wanted(key.object.object_type));
            Ok(keys)
        })
    }
}

/// What keys of each kind sign with on one token: it is asked once for a kind.
#[derive(Default)]
struct Schemes(Vec<(KeyKind, Vec<SignatureScheme>)>);

impl Schemes {
    fn of(&mut self, token: &Token, kind: KeyKind) -> Result<Vec<SignatureScheme>> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == kind) {
            return Ok(known.clone());
        }
        let recipes = mechanism::recipes(token.pkcs11(), token.slot(), kind);
        let recipes = recipes.map_err(|error| token.error(error))?;
        let schemes: Vec<_> = recipes.into_iter().map(|(scheme, _)| scheme).collect();
        self.0.push((kind, schemes.clone()));
        Ok(schemes)
    }
}

fn described(
    token: &Token,
    session: &Session,
    handle: ObjectHandle,
    object_type: ObjectType,
    contents: Option<&mut Schemes>,
) -> Result<DescribedKey> {
    let object = describe(token, session, handle, object_type)?;
    let mut key = DescribedKey {
        object: object.listed.clone(),
        flags: ObjectFlags::default(),
        made_by: None,
        subject: Vec::new(),
        public_key: None,
        schemes: Vec::new(),
    };
    for attribute in said(token, session, handle, object_type)? {
        match attribute {
            Attribute::Subject(value) => key.subject = value,
            other => {
                if let Some((flag, is_on)) = flag(&other) {
                    key.flags.set(flag, is_on);
                }
            }
        }
    }
    if key.flags.get(ObjectFlag::Local) == Some(true) {
        key.made_by = made_by(session, handle);
    }
    if let Some(schemes) = contents {
        // One of a kind that signs nothing here is listed all the same.
        if let Ok(kind) = kind(token, session, &object) {
            let read = public_key::read(session, handle, kind);
            key.public_key = read.map_err(|error| token.error(error))?;
            if object_type == ObjectType::Private {
                key.schemes = schemes.of(token, kind)?;
            }
        }
    }
    Ok(key)
}

/// What the token tells of the attributes that a program may ask for. Modules differ in what they have, and in how they
/// say that they have not: that is no reason to list nothing.
fn said(
    token: &Token,
    session: &Session,
    handle: ObjectHandle,
    object_type: ObjectType,
) -> Result<Vec<Attribute>> {
    let of_type: &[_] = match object_type {
        ObjectType::Private => &[
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
            AttributeType::WrapWithTrusted,
            AttributeType::Sign,
            AttributeType::SignRecover,
            AttributeType::Decrypt,
            AttributeType::Unwrap,
        ],
        _ => &[
            AttributeType::Verify,
            AttributeType::VerifyRecover,
            AttributeType::Encrypt,
            AttributeType::Wrap,
            AttributeType::Trusted,
        ],
    };
    let of_all = [
        AttributeType::Private,
        AttributeType::Destroyable,
        AttributeType::Local,
        AttributeType::Derive,
        AttributeType::Subject,
    ];
    match session.get_attributes(handle, &[of_type, &of_all].concat()) {
        Ok(attributes) => Ok(attributes),
        Err(error) => {
            let is_the_tokens = matches!(error, CryptokiError::Pkcs11(..));
            let error = token.error(error);
            if is_the_tokens && error.stale().is_some() {
                return Err(error);
            }
            Ok(Vec::new())
        }
    }
}

/// `CKA_KEY_GEN_MECHANISM` of a key that was made on the token. Of others it is `CK_UNAVAILABLE_INFORMATION`, which
/// cryptoki takes for an unknown mechanism, and logs as an error.
fn made_by(session: &Session, handle: ObjectHandle) -> Option<u64> {
    let wanted = [AttributeType::KeyGenMechanism];
    match session.get_attributes(handle, &wanted).ok()?.pop()? {
        Attribute::KeyGenMechanism(mechanism) => Some(number(mechanism)),
        _ => None,
    }
}

fn flag(attribute: &Attribute) -> Option<(ObjectFlag, bool)> {
    use ObjectFlag as Flag;
    Some(match *attribute {
        Attribute::Private(is) => (Flag::Private, is),
        Attribute::Destroyable(is) => (Flag::Destroyable, is),
        Attribute::Local(is) => (Flag::Local, is),
        Attribute::Derive(is) => (Flag::Derive, is),
        Attribute::Sensitive(is) => (Flag::Sensitive, is),
        Attribute::AlwaysSensitive(is) => (Flag::AlwaysSensitive, is),
        Attribute::Extractable(is) => (Flag::Extractable, is),
        Attribute::NeverExtractable(is) => (Flag::NeverExtractable, is),
        Attribute::WrapWithTrusted(is) => (Flag::WrapWithTrusted, is),
        Attribute::Sign(is) => (Flag::Sign, is),
        Attribute::SignRecover(is) => (Flag::SignRecover, is),
        Attribute::Decrypt(is) => (Flag::Decrypt, is),
        Attribute::Unwrap(is) => (Flag::Unwrap, is),
        Attribute::Verify(is) => (Flag::Verify, is),
        Attribute::VerifyRecover(is) => (Flag::VerifyRecover, is),
        Attribute::Encrypt(is) => (Flag::Encrypt, is),
        Attribute::Wrap(is) => (Flag::Wrap, is),
        Attribute::Trusted(is) => (Flag::Trusted, is),
        _ => return None,
    })
}

fn number(mechanism: MechanismType) -> u64 {
    let number = std::ffi::c_ulong::from(mechanism);
    // It is a u32 on machines of 32 bits.
    #[allow(clippy::useless_conversion)]
    u64::from(number)
}

/// Private keys whose objects do not have the public key get that of the public key objects with the same id and label,
/// or else the same id, if these agree: as one key is described.
fn complete(keys: &mut [DescribedKey]) {
    let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
    for key in keys.iter() {
        let Some(public_key) = &key.public_key else {
            continue;
        };
        if key.object.object_type != ObjectType::Public {
            continue;
        }
        let (id, label) = (&key.object.id, &key.object.label);
        let label = (!label.is_empty()).then_some(label);
        let mut names = vec![(id.clone(), label.cloned())];
        if !id.is_empty() && label.is_some() {
            names.push((id.clone(), None));
        }
        for name in names {
            let known = by_name.entry(name).or_default();
            if !known.contains(public_key) {
                known.push(public_key.clone());
            }
        }
    }
    for key in keys {
        let (id, label) = (&key.object.id, &key.object.label);
        let has_name = !id.is_empty() || !label.is_empty();
        if key.object.object_type != ObjectType::Private || key.public_key.is_some() || !has_name {
            continue;
        }
        let same_name = (id.clone(), (!label.is_empty()).then(|| label.clone()));
        let same_id = (id.clone(), None);
        let found = by_name.get(&same_name);
        let found = found.or_else(|| by_name.get(&same_id).filter(|_| !id.is_empty()));
        if let Some([public_key]) = found.map(Vec::as_slice) {
            key.public_key = Some(public_key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(object_type: ObjectType, id: &[u8], label: &str, public: Option<u8>) -> DescribedKey {
        DescribedKey {
            object: KeyObject {
                object_type,
                key_type: "EC_EDWARDS".to_owned(),
                label: label.to_owned(),
                id: id.to_vec(),
                uri: Uri::default(),
            },
            flags: ObjectFlags::default(),
            made_by: None,
            subject: Vec::new(),
            public_key: public.map(|byte| PublicKey::from_raw(&[byte; 32]).unwrap()),
            schemes: Vec::new(),
        }
    }

    #[test]
    fn a_private_key_gets_the_public_key_of_its_name() {
        use ObjectType::{Private, Public};
        let mut keys = [
            key(Private, &[1], "a", None),
            key(Private, &[2], "b", None),
            key(Private, &[3], "c", None),
            key(Private, &[], "d", None),
            key(Private, &[], "", None),
            key(Private, &[4], "e", Some(9)),
            key(Public, &[1], "a", Some(1)),
            key(Public, &[1], "other", Some(7)),
            key(Public, &[2], "named otherwise", Some(2)),
            key(Public, &[3], "c", Some(3)),
            key(Public, &[3], "c", Some(4)),
            key(Public, &[], "d", Some(5)),
            key(Public, &[], "", Some(6)),
            key(Public, &[4], "e", Some(8)),
        ];
        complete(&mut keys);
        let got = keys[..6].iter().map(|key| {
            let key = key.public_key.as_ref()?;
            Some(key.raw()[0])
        });
        // Of two that do not agree, neither.
        let wanted = [Some(1), Some(2), None, Some(5), None, Some(9)];
        assert_eq!(got.collect::<Vec<_>>(), wanted);
    }
}
