//! Certificates beside their keys: objects of class `CKO_CERTIFICATE` with the id and label of a private
//! key. Only public ones (`CKA_PRIVATE` false): they are read without a login.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{ObjectType, Uri};

use crate::access::{Access, Check};
use crate::call_error::CallError;
use crate::error::{Error, Result};
use crate::module::Module;
use crate::object::{check_type, find_with, has_name, name};
use crate::selector::KeySelector;
use crate::token::Token;
use crate::x509::Certificate;

/// A certificate on a token.
#[derive(Clone, Debug)]
pub struct CertificateObject {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// `CKA_VALUE`: DER.
    pub der: Vec<u8>,
    /// URI of the object.
    pub uri: Uri,
}

impl Module {
    /// The certificates that `uri` leaves on the token that it names.
    pub fn certificates_on_token(&self, uri: &Uri) -> Result<Vec<CertificateObject>> {
        self.attempt(|| {
            let token = self.token(uri)?;
            token.search_public(|session| {
                let found = stored(&token, session, uri)?;
                Ok(found.into_iter().map(|(_, object)| object).collect())
            })
        })
    }

    /// The one certificate that `uri` leaves, which may be that of its key.
    pub fn certificate(&self, uri: &Uri) -> Result<CertificateObject> {
        let types = [
            ObjectType::Certificate,
            ObjectType::Private,
            ObjectType::Public,
        ];
        check_type(uri, &types, "type=cert or the type of a key")?;
        self.attempt(|| {
            let token = self.token(uri)?;
            token.search_public(|session| {
                let all = |uri: &Uri| -> Result<Vec<_>> {
                    let found = stored(&token, session, uri)?.into_iter();
                    Ok(found.map(|(_, object)| object).collect())
                };
                let mut found = all(uri)?;
                if found.is_empty() && uri.id.is_some() {
                    // Others label a certificate as they like; the id is what binds it to its key.
                    found = all(&Uri {
                        object: None,
                        ..uri.clone()
                    })?;
                }
                let uris = |objects: Vec<CertificateObject>| {
                    objects.into_iter().map(|object| object.uri).collect()
                };
                match (found.pop(), found.is_empty()) {
                    (Some(object), true) => Ok(object),
                    (None, _) => Err(Error::NoCertificate {
                        uri: uri.clone(),
                        token: token.uri(),
                        certificates: uris(all(&Uri::default())?),
                    }),
                    (Some(last), false) => {
                        found.push(last);
                        Err(Error::SeveralCertificates {
                            uri: uri.clone(),
                            certificates: uris(found),
                        })
                    }
                }
            })
        })
    }

    /// Puts `certificate` beside the selected private key, if it is that key's, and returns the URI of
    /// the object. Older certificates of this key are destroyed once the new one has been read back: those
    /// with its id (its label, if it has no id) and its public key. Does nothing if it is there already.
    /// `check` is told the key's URI. Fails for a key with neither id nor label.
    pub fn import_certificate(
        &self,
        key: &KeySelector,
        access: Access<'_>,
        certificate: &Certificate,
        check: Check<'_>,
    ) -> Result<Uri> {
        let key = self.key_info(key, access)?;
        check(&key.uri).map_err(Error::Refused)?;
        if key.public_key.raw() != certificate.public_key.raw() {
            return Err(Error::CertificateOfAnotherKey(key.uri));
        }
        if !key.uri.names_object() {
            return Err(Error::KeyWithoutName(key.uri));
        }
        let written = self.attempt(|| {
            let token = self.token(&key.uri)?;
            token.with_exclusive_session(access.pin, |session| {
                write(&token, session, certificate, &key.uri)
            })
        });
        self.forget_keys();
        if written.is_ok() && self.quirks().mixes_up_handles() {
            self.renew();
        }
        written
    }
}

/// Leaves `certificate` as the only one of `key`, which has a name. May be called again after it failed.
fn write(token: &Token, session: &Session, certificate: &Certificate, key: &Uri) -> Result<Uri> {
    let failed = |error| token.error(error);
    let named = Uri {
        id: key.id.clone(),
        // The id alone binds a certificate to its key; a key without one has only its label.
        object: key.object.clone().filter(|_| key.id.is_none()),
        ..Uri::default()
    };
    // Other keys may have certificates with this id or label.
    let of_key = |object: &CertificateObject| {
        let parsed = Certificate::parse(&object.der);
        object.uri.id == key.id
            && parsed.is_some_and(|own| own.public_key.raw() == certificate.public_key.raw())
    };
    let is_new = |object: &CertificateObject| {
        object.der == certificate.der && object.uri.object == key.object
    };
    let find = || -> Result<Vec<_>> {
        let mut found = stored(token, session, &named)?;
        found.retain(|(_, object)| of_key(object));
        Ok(found)
    };
    let mut found = find()?;
    if !found.iter().any(|(_, object)| is_new(object)) {
        // The handle is not used: a module may mix it up with that of another object.
        session
            .create_object(&template(certificate, key))
            .map_err(failed)?;
        found = find()?;
    }
    let Some(new) = found.iter().position(|(_, object)| is_new(object)) else {
        return Err(Error::Malformed {
            token: token.uri(),
            what: "certificate when it was read back",
        });
    };
    let (_, new) = found.remove(new);
    for (handle, old) in found {
        session
            .destroy_object(handle)
            .map_err(|error| CallError::new(error, &old.uri))?;
    }
    Ok(new.uri)
}

/// PKCS#11 3.0, section 4.6.3.
fn template(certificate: &Certificate, key: &Uri) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Subject(certificate.subject.clone()),
        Attribute::Issuer(certificate.issuer.clone()),
        Attribute::SerialNumber(certificate.serial.clone()),
        Attribute::Value(certificate.der.clone()),
    ];
    template.extend(key.id.clone().map(Attribute::Id));
    let label = key.object.clone();
    template.extend(label.map(|label| Attribute::Label(label.into_bytes())));
    template
}

/// The certificates with the id and label of `uri`.
fn stored(
    token: &Token,
    session: &Session,
    uri: &Uri,
) -> Result<Vec<(ObjectHandle, CertificateObject)>> {
    let failed = |error| token.error(error);
    let public = vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::Private(false),
    ];
    let mut objects = Vec::new();
    for handle in find_with(token, session, public, uri)? {
        let wanted = [
            AttributeType::Class,
            AttributeType::Label,
            AttributeType::Id,
            AttributeType::Value,
        ];
        let (mut label, mut id, mut der) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_certificate = false;
        for attribute in session.get_attributes(handle, &wanted).map_err(failed)? {
            match attribute {
                Attribute::Class(class) => is_certificate = class == ObjectClass::CERTIFICATE,
                Attribute::Label(value) => label = value,
                Attribute::Id(value) => id = value,
                Attribute::Value(value) => der = value,
                _ => {}
            }
        }
        let (label, found) = name(token, ObjectType::Certificate, &id, &label);
        // A module that mixes up its handles must not have a key destroyed for a certificate.
        if !is_certificate || !has_name(&found, uri) {
            return Err(Error::WrongObject {
                token: token.uri(),
                wanted: uri.clone(),
                found,
            });
        }
        let object = CertificateObject {
            label,
            id,
            der,
            uri: found,
        };
        objects.push((handle, object));
    }
    Ok(objects)
}
