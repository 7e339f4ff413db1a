//! From a TLS signature scheme to the PKCS#11 mechanism that makes it.

use std::borrow::Cow;
use std::ffi::c_ulong;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::slot::Slot;
use tedge_p11_protocol::SignatureScheme;

use crate::digest::Digest;
use crate::key_kind::{Curve, KeyKind};

/// How a key signs with a scheme on one token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Recipe {
    /// `CKM_ECDSA` over a digest made in software.
    Ecdsa(Digest),
    /// `CKM_EDDSA` over the message.
    Eddsa,
    /// `CKM_ML_DSA` over the message.
    MlDsa,
    /// `CKM_SHAxxx_RSA_PKCS` or `CKM_SHAxxx_RSA_PKCS_PSS` over the message.
    RsaCombined(Padding, Digest),
    /// `CKM_RSA_PKCS` over a `DigestInfo`, or `CKM_RSA_PKCS_PSS` over a digest.
    RsaDigest(Padding, Digest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    Pkcs1,
    Pss,
}

/// The schemes that a key of this kind can do on the token in `slot`, each with its recipe, in the
/// order that a TLS 1.3 client prefers: those that it can use in its CertificateVerify come first.
///
/// A mechanism that the token can't be asked about is an error, unless it says that it lacks it.
pub(crate) fn recipes(
    pkcs11: &Pkcs11,
    slot: Slot,
    kind: KeyKind,
) -> cryptoki::error::Result<Vec<(SignatureScheme, Recipe)>> {
    let can_sign = |mechanism| match pkcs11.get_mechanism_info(slot, mechanism) {
        Ok(info) => Ok(info.sign()),
        Err(CryptokiError::Pkcs11(RvError::MechanismInvalid, _)) => Ok(false),
        Err(error) => Err(error),
    };
    let mut found = Vec::new();
    for (scheme, recipes) in candidates(kind) {
        for recipe in recipes {
            if can_sign(recipe.mechanism_type())? {
                found.push((scheme, recipe));
                break;
            }
        }
    }
    Ok(found)
}

impl Recipe {
    /// The mechanism, and what of `message` goes into it.
    pub(crate) fn prepare(self, message: &[u8]) -> (Mechanism<'static>, Cow<'_, [u8]>) {
        match self {
            Self::Ecdsa(digest) => (Mechanism::Ecdsa, digest.of(message).into()),
            Self::Eddsa => {
                let params = EddsaParams::new(EddsaSignatureScheme::Pure);
                (Mechanism::Eddsa(params), message.into())
            }
            Self::MlDsa => (Mechanism::MlDsa(ml_dsa_params()), message.into()),
            Self::RsaCombined(padding, digest) => (combined(padding, digest), message.into()),
            Self::RsaDigest(Padding::Pkcs1, digest) => {
                (Mechanism::RsaPkcs, digest.info_of(message).into())
            }
            Self::RsaDigest(Padding::Pss, digest) => (
                Mechanism::RsaPkcsPss(pss_params(digest)),
                digest.of(message).into(),
            ),
        }
    }

    /// The mechanism, and what goes into it, for a digest that somebody else made. None if it is none that
    /// the scheme could have: for ECDSA, which takes any, one of SHA-2's common lengths.
    pub(crate) fn prepare_digest(
        self,
        digest: &[u8],
    ) -> Option<(Mechanism<'static>, Cow<'_, [u8]>)> {
        let fits = |wanted: Digest| digest.len() == usize::from(wanted.len());
        match self {
            Self::Ecdsa(_) => [Digest::Sha256, Digest::Sha384, Digest::Sha512]
                .into_iter()
                .any(fits)
                .then(|| (Mechanism::Ecdsa, digest.into())),
            // HashML-DSA is another algorithm, which neither TLS nor RFC 9881 has.
            Self::Eddsa | Self::MlDsa => None,
            Self::RsaCombined(Padding::Pkcs1, of) | Self::RsaDigest(Padding::Pkcs1, of) => {
                fits(of).then(|| (Mechanism::RsaPkcs, of.info_around(digest).into()))
            }
            Self::RsaCombined(Padding::Pss, of) | Self::RsaDigest(Padding::Pss, of) => {
                fits(of).then(|| (Mechanism::RsaPkcsPss(pss_params(of)), digest.into()))
            }
        }
    }

    fn mechanism_type(self) -> MechanismType {
        match self {
            Self::Ecdsa(_) => MechanismType::ECDSA,
            Self::Eddsa => MechanismType::EDDSA,
            Self::MlDsa => MechanismType::ML_DSA,
            Self::RsaCombined(padding, digest) => combined(padding, digest).mechanism_type(),
            Self::RsaDigest(Padding::Pkcs1, _) => MechanismType::RSA_PKCS,
            Self::RsaDigest(Padding::Pss, _) => MechanismType::RSA_PKCS_PSS,
        }
    }
}

/// Every scheme of the key's kind with its recipes, the better recipe first.
fn candidates(kind: KeyKind) -> Vec<(SignatureScheme, Vec<Recipe>)> {
    use SignatureScheme as S;
    match kind {
        KeyKind::Ec(Curve::P256) => vec![(
            S::ECDSA_SECP256R1_SHA256,
            vec![Recipe::Ecdsa(Digest::Sha256)],
        )],
        KeyKind::Ec(Curve::P384) => vec![(
            S::ECDSA_SECP384R1_SHA384,
            vec![Recipe::Ecdsa(Digest::Sha384)],
        )],
        KeyKind::Ec(Curve::P521) => vec![(
            S::ECDSA_SECP521R1_SHA512,
            vec![Recipe::Ecdsa(Digest::Sha512)],
        )],
        KeyKind::Ed25519 => vec![(S::ED25519, vec![Recipe::Eddsa])],
        KeyKind::MlDsa(set) => vec![(set.scheme(), vec![Recipe::MlDsa])],
        KeyKind::Rsa => [
            (S::RSA_PSS_RSAE_SHA256, Padding::Pss, Digest::Sha256),
            (S::RSA_PSS_RSAE_SHA384, Padding::Pss, Digest::Sha384),
            (S::RSA_PSS_RSAE_SHA512, Padding::Pss, Digest::Sha512),
            (S::RSA_PKCS1_SHA256, Padding::Pkcs1, Digest::Sha256),
            (S::RSA_PKCS1_SHA384, Padding::Pkcs1, Digest::Sha384),
            (S::RSA_PKCS1_SHA512, Padding::Pkcs1, Digest::Sha512),
        ]
        .into_iter()
        .map(|(scheme, padding, digest)| {
            let recipes = vec![
                Recipe::RsaCombined(padding, digest),
                Recipe::RsaDigest(padding, digest),
            ];
            (scheme, recipes)
        })
        .collect(),
    }
}

fn combined(padding: Padding, digest: Digest) -> Mechanism<'static> {
    match (padding, digest) {
        (Padding::Pkcs1, Digest::Sha256) => Mechanism::Sha256RsaPkcs,
        (Padding::Pkcs1, Digest::Sha384) => Mechanism::Sha384RsaPkcs,
        (Padding::Pkcs1, Digest::Sha512) => Mechanism::Sha512RsaPkcs,
        (Padding::Pss, Digest::Sha256) => Mechanism::Sha256RsaPkcsPss(pss_params(digest)),
        (Padding::Pss, Digest::Sha384) => Mechanism::Sha384RsaPkcsPss(pss_params(digest)),
        (Padding::Pss, Digest::Sha512) => Mechanism::Sha512RsaPkcsPss(pss_params(digest)),
    }
}

/// Hedged: a fault or a side channel tells less of a key that signs with fresh randomness (FIPS 204, section 3.4). No
/// context, as TLS and certificates have it (RFC 9881, section 3).
fn ml_dsa_params() -> SignAdditionalContext<'static> {
    SignAdditionalContext::new(HedgeType::Required, None)
}

fn pss_params(digest: Digest) -> PkcsPssParams {
    let (hash_alg, mgf) = match digest {
        Digest::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Digest::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Digest::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    PkcsPssParams {
        hash_alg,
        mgf,
        s_len: c_ulong::from(digest.len()).into(),
    }
}
