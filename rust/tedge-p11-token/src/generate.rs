//! Making key pairs that never leave their token.

use std::ffi::c_ulong;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{KeySpec, ObjectType, Pin, Uri, curve};

use crate::error::{Error, Result};
use crate::find::{describe, find, usable};
use crate::key::{Curve, KeyInfo};
use crate::module::Module;
use crate::public_key::{ED25519_NAME, oid_der};

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
                    id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
                });
            }
            Ok(id)
        })?;
        let handle = token.with_rw_session(pin, |session| {
            let named = [
                Attribute::Token(true),
                Attribute::Label(new.label.clone().into_bytes()),
                Attribute::Id(id),
            ];
            generate(session, new.spec, &named).map_err(failed)
        })?;
        self.forget_keys();
        let key = token.search(pin, |session| {
            let object = describe(&token, session, handle, ObjectType::Private)?;
            usable(&token, session, object)
        })?;
        key.info(pin)
    }
}

/// Tries one template after the other; what the last one fails with is reported.
fn generate(
    session: &Session,
    spec: KeySpec,
    named: &[Attribute],
) -> cryptoki::error::Result<ObjectHandle> {
    let types = key_types(spec);
    let attempts = types
        .iter()
        .flat_map(|key_type| [(key_type, true), (key_type, false)]);
    let mut result = Err(cryptoki::error::Error::NotSupported);
    for ((mechanism, key_type), sign_only) in attempts {
        let (public_limits, private_limits) = if sign_only {
            SIGN_ONLY
        } else {
            (&[][..], &[][..])
        };
        let public = [named, key_type, PUBLIC_USES, public_limits].concat();
        let private = [named, PRIVATE_USES, private_limits].concat();
        result = session
            .generate_key_pair(mechanism, &public, &private)
            .map(|(_, handle)| handle);
        if result.is_ok() {
            break;
        }
    }
    result
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

/// What a sign-only key can't do besides, for the public and the private key. A TPM refuses it:
/// libtpm2_pkcs11 pads RSA signatures itself and has the TPM "decrypt" them.
const SIGN_ONLY: (&[Attribute], &[Attribute]) =
    (&[Attribute::Encrypt(false)], &[Attribute::Decrypt(false)]);

/// As many bytes as the SHA-1 of a public key, which other tools use for an id.
const RANDOM_ID_LEN: u32 = 20;
