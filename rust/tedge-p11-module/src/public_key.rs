//! The numbers of a public key, as PKCS#11 has them.

use cryptoki_sys::*;
use der::asn1::{ObjectIdentifier, OctetStringRef, SequenceOf, UintRef};
use der::{Decode as _, Encode as _};
use tedge_p11_protocol::{KeySpec, PublicKey, curve};

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// `CKK_EC` and `CKK_EC_EDWARDS`.
    Ec {
        /// `CKA_EC_PARAMS`: the curve's object identifier in DER.
        params: Vec<u8>,
        /// `CKA_EC_POINT`: the point in a DER OCTET STRING.
        point: Vec<u8>,
        /// Bytes of `r` and of `s` in a signature, or half of an Ed25519 one.
        number_len: usize,
    },
    /// `CKK_RSA`, most significant byte first.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

impl Numbers {
    /// None for a key of a kind that is not known here.
    pub(crate) fn of(key: &PublicKey) -> Option<Self> {
        let ec = |curve: ObjectIdentifier, number_len| {
            let point = OctetStringRef::new(key.raw()).ok()?;
            Some(Self::Ec {
                params: curve.to_der().ok()?,
                point: point.to_der().ok()?,
                number_len,
            })
        };
        match key.spec() {
            Some(KeySpec::EcP256) => ec(curve::P256, 32),
            Some(KeySpec::EcP384) => ec(curve::P384, 48),
            Some(KeySpec::EcP521) => ec(curve::P521, 66),
            Some(KeySpec::Ed25519) => ec(curve::ED25519, 32),
            _ => {
                let numbers = SequenceOf::<UintRef<'_>, 2>::from_der(key.raw()).ok()?;
                Some(Self::Rsa {
                    modulus: numbers.get(0)?.as_bytes().to_vec(),
                    exponent: numbers.get(1)?.as_bytes().to_vec(),
                })
            }
        }
    }

    pub(crate) fn key_type(&self) -> CK_KEY_TYPE {
        match self {
            // The 32 bytes of an Ed25519 key, in an OCTET STRING.
            Self::Ec { point, .. } if point.len() == 34 => CKK_EC_EDWARDS,
            Self::Ec { .. } => CKK_EC,
            Self::Rsa { .. } => CKK_RSA,
        }
    }

    /// Bytes of a signature with this key.
    pub(crate) fn signature_len(&self) -> usize {
        match self {
            Self::Ec { number_len, .. } => 2 * number_len,
            Self::Rsa { modulus, .. } => modulus.len(),
        }
    }
}
