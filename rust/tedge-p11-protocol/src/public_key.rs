//! Public keys: the bare form that frames of version 1 carry, and the one everybody else reads.

use der::asn1::{BitStringRef, ObjectIdentifier, SequenceOf, UintRef};
use der::{AnyRef, Decode as _, Encode as _};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::extension::KeySpec;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    raw: Vec<u8>,
}

impl PublicKey {
    /// From the content of a `subjectPublicKey`: an uncompressed EC point (0x04…) on P-256, P-384 or
    /// P-521, a PKCS#1 `RSAPublicKey`, or the 32 bytes of an Ed25519 key. The length tells which;
    /// `None` if it is none of them.
    #[must_use]
    pub fn from_raw(raw: &[u8]) -> Option<Self> {
        let curve = match (raw.len(), raw.first()?) {
            (65, 4) => P256,
            (97, 4) => P384,
            (133, 4) => P521,
            (32, _) => return Self::with_algorithm(ED25519, None, raw),
            _ => {
                SequenceOf::<UintRef<'_>, 2>::from_der(raw).ok()?;
                // The parameters of rsaEncryption are NULL (RFC 3279, section 2.3.1).
                return Self::with_algorithm(RSA_ENCRYPTION, Some(AnyRef::NULL), raw);
            }
        };
        let curve = curve.to_der().ok()?;
        let parameters = AnyRef::from_der(&curve).ok()?;
        Self::with_algorithm(EC_PUBLIC_KEY, Some(parameters), raw)
    }

    /// From the two numbers of an RSA key, most significant byte first.
    #[must_use]
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let mut numbers = SequenceOf::<UintRef<'_>, 2>::new();
        numbers.add(UintRef::new(modulus).ok()?).ok()?;
        numbers.add(UintRef::new(exponent).ok()?).ok()?;
        Self::from_raw(&numbers.to_der().ok()?)
    }

    /// From the bytes of an ML-DSA key (FIPS 204, algorithm 22), whose length tells the parameter set; `None` if it is
    /// that of none.
    #[must_use]
    pub fn from_ml_dsa(raw: &[u8]) -> Option<Self> {
        let (oid, _, _) = ML_DSA.into_iter().find(|(_, len, _)| *len == raw.len())?;
        // RFC 9881, section 2: the parameters are absent.
        Self::with_algorithm(oid, None, raw)
    }

    /// From a DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        let parsed = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
        Some(Self {
            spki: spki.to_vec(),
            raw: parsed.subject_public_key.as_bytes()?.to_vec(),
        })
    }

    /// DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Content of its `subjectPublicKey`, see [`from_raw`](Self::from_raw) and [`from_ml_dsa`](Self::from_ml_dsa).
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Type and size, if it is one of those that can be made here.
    #[must_use]
    pub fn spec(&self) -> Option<KeySpec> {
        let algorithm = SubjectPublicKeyInfoRef::from_der(&self.spki)
            .ok()?
            .algorithm;
        if let Some((_, len, spec)) = ML_DSA.into_iter().find(|(oid, _, _)| *oid == algorithm.oid) {
            return (self.raw.len() == len).then_some(spec);
        }
        Some(match self.raw.len() {
            65 => KeySpec::EcP256,
            97 => KeySpec::EcP384,
            133 => KeySpec::EcP521,
            32 => KeySpec::Ed25519,
            _ => {
                let numbers = SequenceOf::<UintRef<'_>, 2>::from_der(&self.raw).ok()?;
                match numbers.get(0)?.as_bytes().len() {
                    256 => KeySpec::Rsa2048,
                    384 => KeySpec::Rsa3072,
                    512 => KeySpec::Rsa4096,
                    _ => return None,
                }
            }
        })
    }

    fn with_algorithm(
        oid: ObjectIdentifier,
        parameters: Option<AnyRef<'_>>,
        raw: &[u8],
    ) -> Option<Self> {
        let spki = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(raw).ok()?,
        }
        .to_der()
        .ok()?;
        Some(Self {
            spki,
            raw: raw.to_vec(),
        })
    }
}

/// secp256r1 (RFC 5480, section 2.1.1.1).
pub const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// secp384r1 (RFC 5480, section 2.1.1.1).
pub const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// secp521r1 (RFC 5480, section 2.1.1.1).
pub const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// id-Ed25519 (RFC 8410, section 3).
pub const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// id-ml-dsa-44 (RFC 9881, section 2).
pub const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
/// id-ml-dsa-65 (RFC 9881, section 2).
pub const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
/// id-ml-dsa-87 (RFC 9881, section 2).
pub const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");
/// Each parameter set with the bytes of its public keys (FIPS 204, table 2).
const ML_DSA: [(ObjectIdentifier, usize, KeySpec); 3] = [
    (ML_DSA_44, 1312, KeySpec::MlDsa44),
    (ML_DSA_65, 1952, KeySpec::MlDsa65),
    (ML_DSA_87, 2592, KeySpec::MlDsa87),
];
/// id-ecPublicKey (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// rsaEncryption (RFC 8017, appendix C).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ml_dsa_keys_are_told_by_their_algorithm() {
        for (oid, len, spec) in ML_DSA {
            let key = PublicKey::from_ml_dsa(&vec![0x30; len]).unwrap();
            assert_eq!(key.spec(), Some(spec));
            assert_eq!(key.raw().len(), len);
            let spki = SubjectPublicKeyInfoRef::from_der(key.spki()).unwrap();
            assert_eq!(spki.algorithm.oid, oid);
            // RFC 9881, section 2.
            assert_eq!(spki.algorithm.parameters, None);
            assert_eq!(PublicKey::from_spki(key.spki()).unwrap(), key);
            assert!(PublicKey::from_ml_dsa(&vec![0x30; len - 1]).is_none());
        }
        // The bytes of one parameter set under the name of another are no key that is known.
        let other = PublicKey::with_algorithm(ML_DSA_44, None, &[7; 1952]).unwrap();
        assert_eq!(other.spec(), None);
        // An Ed25519 key is none because it is as long as one.
        let other = PublicKey::with_algorithm(ML_DSA_44, None, &[7; 32]).unwrap();
        assert_eq!(other.spec(), None);
    }
}
