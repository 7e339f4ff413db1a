//! Signature algorithms of X.509 and the TLS schemes that they are.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Reader as _, SliceReader, TagNumber, Tagged as _};
use spki::AlgorithmIdentifierRef;
use tedge_p11_protocol::{SignatureScheme as S, ml_dsa};

use crate::x509;

/// Whether `algorithm`, in a certificate, promises a signature such as `scheme` makes.
pub(crate) fn fits(algorithm: AlgorithmIdentifierRef<'_>, scheme: S) -> bool {
    let parameters = algorithm.parameters;
    let is = |oid| algorithm.oid == oid;
    match scheme {
        // RFC 5758, section 3.2, and RFC 8410, section 3: without parameters.
        S::ECDSA_SECP256R1_SHA256 => is(ECDSA_SHA256) && parameters.is_none(),
        S::ECDSA_SECP384R1_SHA384 => is(ECDSA_SHA384) && parameters.is_none(),
        S::ECDSA_SECP521R1_SHA512 => is(ECDSA_SHA512) && parameters.is_none(),
        S::ED25519 => is(tedge_p11_protocol::curve::ED25519) && parameters.is_none(),
        // RFC 9881, section 3: without parameters.
        S::ML_DSA_44 => is(ml_dsa::ML_DSA_44) && parameters.is_none(),
        S::ML_DSA_65 => is(ml_dsa::ML_DSA_65) && parameters.is_none(),
        S::ML_DSA_87 => is(ml_dsa::ML_DSA_87) && parameters.is_none(),
        // RFC 4055, section 5: with NULL.
        S::RSA_PKCS1_SHA256 => is(RSA_SHA256) && parameters == Some(AnyRef::NULL),
        S::RSA_PKCS1_SHA384 => is(RSA_SHA384) && parameters == Some(AnyRef::NULL),
        S::RSA_PKCS1_SHA512 => is(RSA_SHA512) && parameters == Some(AnyRef::NULL),
        S::RSA_PSS_RSAE_SHA256 => is(RSA_PSS) && pss(parameters, SHA256, 32),
        S::RSA_PSS_RSAE_SHA384 => is(RSA_PSS) && pss(parameters, SHA384, 48),
        S::RSA_PSS_RSAE_SHA512 => is(RSA_PSS) && pss(parameters, SHA512, 64),
        _ => false,
    }
}

/// RSASSA-PSS-params (RFC 4055, section 3.1): this hash, MGF1 with the same, and a salt of this
/// length, none of which is a default.
fn pss(parameters: Option<AnyRef<'_>>, hash: ObjectIdentifier, salt_len: u8) -> bool {
    let Some(parameters) = parameters else {
        return false;
    };
    let read = || {
        parameters.tag().assert_eq(der::Tag::Sequence)?;
        let mut reader = SliceReader::new(parameters.value())?;
        let digest = tagged::<AlgorithmIdentifierRef<'_>>(&mut reader, TagNumber::N0)?;
        let mask = tagged::<AlgorithmIdentifierRef<'_>>(&mut reader, TagNumber::N1)?;
        let mask_digest = mask
            .parameters
            .ok_or(der::ErrorKind::Failed)?
            .decode_as::<AlgorithmIdentifierRef<'_>>()?;
        let salt = tagged::<u8>(&mut reader, TagNumber::N2)?;
        reader.finish(
            is_hash(digest, hash)
                && mask.oid == MGF1
                && is_hash(mask_digest, hash)
                && salt == salt_len,
        )
    };
    let read: der::Result<bool> = read();
    read.unwrap_or(false)
}

fn tagged<'a, T: der::Decode<'a>>(
    reader: &mut SliceReader<'a>,
    number: TagNumber,
) -> der::Result<T> {
    let mut inside = x509::open(reader, x509::explicit(number))?;
    let value = T::decode(&mut inside)?;
    inside.finish(value)
}

/// RFC 4055, section 2.1: the parameters are NULL or absent.
fn is_hash(algorithm: AlgorithmIdentifierRef<'_>, oid: ObjectIdentifier) -> bool {
    algorithm.oid == oid && algorithm.parameters.is_none_or(|p| p == AnyRef::NULL)
}

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
