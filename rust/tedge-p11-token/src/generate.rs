//! Making key pairs that never leave their token.

use std::ffi::c_ulong;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{KeySpec, ObjectType, Pin, Uri, curve, hex};

use crate::error::{Error, Result};
use crate::find::{describe, find, usable};
use crate::key::{Curve, KeyInfo};
use crate::module::Module;
use crate::public_key::{ED25519_NAME, oid_der};
use crate::token::unpadded;

/// A key pair to make.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Type and size.
    pub spec: KeySpec,
    /// `CKA_LABEL` of both objects.
    pub label: String,
    /// `CKA_ID` of both objects; 20 random bytes without.
    pub id: Option<Vec<u8>>,
}

impl Module {
    /// Makes a key pair on the token that `uri` names. The private key is sensitive, can't be
    /// extracted, and can sign but neither unwrap nor derive, nor decrypt where the token agrees.
    ///
    /// A label may be used more than once, an id may not: it is what makes the URI unambiguous.
    pub fn create_key(&self, uri: &Uri, pin: Option<&Pin>, new: &NewKey) -> Result<KeyInfo> {
        self.retry_stale(Some(uri), || self.try_create_key(uri, pin, new))
    }

    fn try_create_key(&self, uri: &Uri, pin: Option<&Pin>, new: &NewKey) -> Result<KeyInfo> {
        let token = self.token(uri)?;
        let failed = |error| token.error(&error);
        let id = token.search(pin, |session| {
            let id = match &new.id {
                Some(id) => id.clone(),
                None => session.generate_random_vec(RANDOM_ID_LEN).map_err(failed)?,
            };
            let same_id = Uri {
                id: Some(id.clone()),
                ..Uri::default()
            };
            if !find(&token, session, ObjectClass::PRIVATE_KEY, &same_id)?.is_empty() {
                return Err(Error::IdTaken {
                    token: token.uri().clone(),
                    id: hex(&id),
                });
            }
            Ok(id)
        })?;
        let named = [
            Attribute::Token(true),
            Attribute::Label(new.label.clone().into_bytes()),
            Attribute::Id(id),
        ];
        let (public, private) = token.with_rw_session(pin, |session| {
            generate(session, token.pkcs11(), new.spec, &named).map_err(failed)
        })?;
        self.forget_keys();
        let found = token.search(pin, |session| {
            let object = describe(&token, session, private, ObjectType::Private)?;
            usable(&token, session, object)
        });
        let info = found.and_then(|key| key.info(pin));
        if info.is_err() {
            // A key that can't be used must not stay behind under this label and id.
            let _ = token.with_rw_session(pin, |session| {
                for object in [private, public] {
                    session.destroy_object(object).map_err(failed)?;
                }
                Ok(())
            });
        }
        info
    }
}

/// Tries one template after the other, as long as it is the template that the token refuses.
/// Returns the handles of the public and of the private key.
fn generate(
    session: &Session,
    pkcs11: &Pkcs11,
    spec: KeySpec,
    named: &[Attribute],
) -> cryptoki::error::Result<(ObjectHandle, ObjectHandle)> {
    let types = key_types(spec);
    let sign_only = [true, false];
    let sign_only = if refuses_sign_only(pkcs11) {
        &sign_only[1..]
    } else {
        &sign_only
    };
    let mut result = Err(CryptokiError::NotSupported);
    for (mechanism, key_type) in &types {
        for sign_only in sign_only {
            let limits = if *sign_only {
                SIGN_ONLY
            } else {
                (&[][..], &[][..])
            };
            let public = [named, key_type, PUBLIC_USES, limits.0].concat();
            let private = [named, PRIVATE_USES, limits.1].concat();
            result = session.generate_key_pair(mechanism, &public, &private);
            match &result {
                Err(CryptokiError::Pkcs11(code, _)) if is_about_template(*code) => {}
                _ => return result,
            }
        }
    }
    result
}

/// Codes that modules answer with when they dislike an attribute; the last two are not what the
/// standard says, but are what some say.
fn is_about_template(code: RvError) -> bool {
    matches!(
        code,
        RvError::TemplateInconsistent
            | RvError::TemplateIncomplete
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::AttributeReadOnly
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::ArgumentsBad
            | RvError::GeneralError
    )
}

/// libtpm2_pkcs11 pads RSA signatures itself and has the TPM "decrypt" them, so it insists on
/// CKA_DECRYPT. It would say so only after the TPM has made the key, which can take half a minute.
fn refuses_sign_only(pkcs11: &Pkcs11) -> bool {
    pkcs11
        .get_library_info()
        .is_ok_and(|info| unpadded(info.manufacturer_id()) == "tpm2-software.github.io")
}

/// Mechanism and attributes that say what kind of key to make. Ed25519 has two spellings, of which
/// a module may know only one.
fn key_types(spec: KeySpec) -> Vec<(Mechanism<'static>, Vec<Attribute>)> {
    let ec = |curve: Curve| {
        let params = oid_der(curve.oid()).unwrap_or_default();
        vec![(Mechanism::EccKeyPairGen, vec![Attribute::EcParams(params)])]
    };
    let rsa = |bits: u16| {
        let attributes = vec![
            Attribute::ModulusBits(c_ulong::from(bits).into()),
            Attribute::PublicExponent(vec![0x01, 0x00, 0x01]),
        ];
        vec![(Mechanism::RsaPkcsKeyPairGen, attributes)]
    };
    match spec {
        KeySpec::EcP256 => ec(Curve::P256),
        KeySpec::EcP384 => ec(Curve::P384),
        KeySpec::EcP521 => ec(Curve::P521),
        KeySpec::Rsa2048 => rsa(2048),
        KeySpec::Rsa3072 => rsa(3072),
        KeySpec::Rsa4096 => rsa(4096),
        KeySpec::Ed25519 => [
            oid_der(curve::ED25519).unwrap_or_default(),
            ED25519_NAME.to_vec(),
        ]
        .into_iter()
        .map(|params| {
            let mechanism = Mechanism::EccEdwardsKeyPairGen;
            (mechanism, vec![Attribute::EcParams(params)])
        })
        .collect(),
    }
}

const PUBLIC_USES: &[Attribute] = &[
    Attribute::Private(false),
    Attribute::Verify(true),
    Attribute::Wrap(false),
];

const PRIVATE_USES: &[Attribute] = &[
    Attribute::Private(true),
    Attribute::Sensitive(true),
    Attribute::Extractable(false),
    Attribute::Sign(true),
    Attribute::Unwrap(false),
    Attribute::Derive(false),
];

/// What a sign-only key can't do besides: the public key and the private key.
const SIGN_ONLY: (&[Attribute], &[Attribute]) =
    (&[Attribute::Encrypt(false)], &[Attribute::Decrypt(false)]);

/// As many bytes as the SHA-1 of a public key, which other tools use for an id.
const RANDOM_ID_LEN: u32 = 20;
