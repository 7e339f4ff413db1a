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

    /// Content of its `subjectPublicKey`, see [`from_raw`](Self::from_raw).
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Type and size, if it is one of those that can be made here.
    #[must_use]
    pub fn spec(&self) -> Option<KeySpec> {
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
/// id-ecPublicKey (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// rsaEncryption (RFC 8017, appendix C).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
