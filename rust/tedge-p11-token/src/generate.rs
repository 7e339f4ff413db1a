//! Making key pairs that never leave their token.

use std::ffi::c_ulong;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session;
use tedge_p11_protocol::{KeySpec, ObjectType, Uri, curve, hex};

use crate::access::{Access, Check, Everything};
use crate::error::{Error, Result};
use crate::key::KeyInfo;
use crate::key_kind::{Curve, MlDsa};
use crate::module::Module;
use crate::object::find;
use crate::pins::GivenPin;
use crate::public_key::{ED25519_NAME, oid_der};
use crate::quirks::Quirks;
use crate::selector::KeySelector;
use crate::token::Token;

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
    /// `check` is told the new key's URI, without the id if that is to be made at random.
    pub fn create_key(
        &self,
        uri: &Uri,
        pin: Option<GivenPin<'_>>,
        new: &NewKey,
        check: Check<'_>,
    ) -> Result<KeyInfo> {
        for (what, len) in [
            ("label", new.label.len()),
            ("id", new.id.as_ref().map_or(0, Vec::len)),
        ] {
            if len > MAX_NAME_LEN {
                return Err(Error::TooLong { what, len });
            }
        }
        // Made once; what follows can be tried again without making another one.
        let id = self.attempt(|| self.generate(uri, pin, new, check))?;
        self.forget_keys();
        let made = Uri {
            id: Some(id),
            ..uri.token_part()
        };
        // The token was checked.
        let access = Access {
            pin,
            permit: &Everything,
        };
        let info = self.key_info(&KeySelector::Uri(made.clone()), access);
        if info.is_err() {
            // A key that can't be used must not stay behind under this label and id.
            if let Err(error) = self.delete_key(&made, access, &|_| Ok(())) {
                log::warn!("cannot delete the key that was made: {error}");
            }
        }
        info
    }

    /// Makes the key pair and returns its id.
    fn generate(
        &self,
        uri: &Uri,
        pin: Option<GivenPin<'_>>,
        new: &NewKey,
        check: Check<'_>,
    ) -> Result<Vec<u8>> {
        let token = self.token(uri)?;
        check(&Uri {
            object: Some(new.label.clone()),
            id: new.id.clone(),
            object_type: Some(ObjectType::Private),
            ..token.uri()
        })
        .map_err(Error::Refused)?;
        check_room(self.pkcs11(), &token, new.spec)?;
        if self.quirks().keeps_keys_loaded() {
            token.reset();
        }
        let failed = |error| token.error(error);
        let id = token.search(pin, None, |session, _| {
            let id = match &new.id {
                Some(id) if !id.is_empty() => id.clone(),
                _ => session.generate_random_vec(RANDOM_ID_LEN).map_err(failed)?,
            };
            let same_id = Uri {
                id: Some(id.clone()),
                ..Uri::default()
            };
            if !find(&token, session, ObjectClass::PRIVATE_KEY, &same_id)?.is_empty() {
                return Err(Error::IdTaken {
                    token: token.uri(),
                    id: hex(&id),
                });
            }
            Ok(id)
        })?;
        let named = [
            Attribute::Token(true),
            Attribute::Label(new.label.clone().into_bytes()),
            Attribute::Id(id.clone()),
        ];
        token
            .with_rw_session(pin, |session| {
                generate(session, self.quirks(), new.spec, &named).map_err(failed)
            })
            .map_err(Error::final_word)?;
        Ok(id)
    }
}

/// Fails where the token says that it has no room for such a key: then nothing is begun that the token can't finish. Most
/// tokens do not tell, or tell of another kind of memory (PKCS#11 3.0, section 3.3).
fn check_room(pkcs11: &Pkcs11, token: &Token, spec: KeySpec) -> Result<()> {
    let info = pkcs11
        .get_token_info(token.slot())
        .map_err(|error| token.error(error))?;
    // Modulus, two exponents, two primes and what goes with them.
    let numbers = |bits: usize| bits / 8 * 5;
    let bytes = match spec {
        KeySpec::Rsa2048 => numbers(2048),
        KeySpec::Rsa3072 => numbers(3072),
        KeySpec::Rsa4096 => numbers(4096),
        // Private and public key (FIPS 204, table 2).
        KeySpec::MlDsa44 => 2560 + 1312,
        KeySpec::MlDsa65 => 4032 + 1952,
        KeySpec::MlDsa87 => 4896 + 2592,
        _ => numbers(521),
    };
    let needed = bytes + MAX_NAME_LEN;
    match (info.total_private_memory(), info.free_private_memory()) {
        (Some(total), Some(free)) if total > 0 && free <= total && free < needed => {
            Err(Error::NoRoom {
                token: token.uri(),
                free,
                needed,
            })
        }
        _ => Ok(()),
    }
}

/// Tries one template after the other, as long as it is the template that the token refuses. The
/// handles that come back are not used: a module may mix them up with those of other keys.
fn generate(
    session: &Session,
    quirks: Quirks,
    spec: KeySpec,
    named: &[Attribute],
) -> cryptoki::error::Result<()> {
    let types = key_types(spec);
    let sign_only = [true, false];
    let sign_only = if quirks.signs_by_decrypting() {
        &sign_only[1..]
    } else {
        &sign_only
    };
    let mut result = Err(CryptokiError::NotSupported);
    for (mechanism, key_type, of_private) in with_curve_in_private(&types) {
        for sign_only in sign_only {
            let limits = if *sign_only {
                SIGN_ONLY
            } else {
                (&[][..], &[][..])
            };
            let public = [named, key_type, PUBLIC_USES, limits.0].concat();
            let private = [named, of_private, PRIVATE_USES, limits.1].concat();
            result = session
                .generate_key_pair(mechanism, &public, &private)
                .map(|_| ());
            match &result {
                Err(CryptokiError::Pkcs11(code, _)) if is_about_template(*code) => {}
                _ => return result,
            }
        }
    }
    result
}

/// The same, and the curve in the private key's template, too, at last: modules of some secure elements look for it there,
/// while it is for the public key's alone (PKCS#11 3.0, section 6.3.3).
fn with_curve_in_private<'a>(
    types: &'a [(Mechanism<'static>, Vec<Attribute>)],
) -> impl Iterator<Item = (&'a Mechanism<'static>, &'a [Attribute], &'a [Attribute])> {
    let has_curve = |key_type: &[Attribute]| {
        let mut attributes = key_type.iter();
        attributes.any(|attribute| matches!(attribute, Attribute::EcParams(_)))
    };
    let as_said = types
        .iter()
        .map(|(mechanism, key_type)| (mechanism, &key_type[..], &[][..]));
    let with_curve = types
        .iter()
        .filter(move |(_, key_type)| has_curve(key_type));
    let with_curve =
        with_curve.map(|(mechanism, key_type)| (mechanism, &key_type[..], &key_type[..]));
    as_said.chain(with_curve)
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
    let ml_dsa = |set: MlDsa| {
        let set = Attribute::ParameterSet(set.parameter_set().into());
        vec![(Mechanism::MlDsaKeyPairGen, vec![set])]
    };
    match spec {
        KeySpec::EcP256 => ec(Curve::P256),
        KeySpec::EcP384 => ec(Curve::P384),
        KeySpec::EcP521 => ec(Curve::P521),
        KeySpec::Rsa2048 => rsa(2048),
        KeySpec::Rsa3072 => rsa(3072),
        KeySpec::Rsa4096 => rsa(4096),
        KeySpec::MlDsa44 => ml_dsa(MlDsa::MlDsa44),
        KeySpec::MlDsa65 => ml_dsa(MlDsa::MlDsa65),
        KeySpec::MlDsa87 => ml_dsa(MlDsa::MlDsa87),
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
const SIGN_ONLY: (&[Attribute], &[Attribute]) = (
    &[Attribute::Encrypt(false), Attribute::VerifyRecover(false)],
    &[Attribute::Decrypt(false), Attribute::SignRecover(false)],
);

/// As many bytes as the SHA-1 of a public key, which other tools use for an id.
const RANDOM_ID_LEN: u32 = 20;
/// Of labels and ids, in bytes: what any token takes.
const MAX_NAME_LEN: usize = 255;
