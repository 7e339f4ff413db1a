//! Public keys out of the attributes of PKCS#11 objects.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use tedge_p11_protocol::{PublicKey, curve};

use crate::key_kind::{Curve, KeyKind, MlDsa};

/// Reads the public key's value from `object`, which may be a public key or, where the module
/// allows, a private one. `Ok(None)` when the object does not have it.
pub(crate) fn read(
    session: &Session,
    object: ObjectHandle,
    kind: KeyKind,
) -> cryptoki::error::Result<Option<PublicKey>> {
    if let KeyKind::MlDsa(set) = kind {
        return read_ml_dsa(session, object, set);
    }
    let mut point = None;
    let mut modulus = None;
    let mut exponent = None;
    let wanted: &[_] = match kind {
        KeyKind::Rsa => &[AttributeType::Modulus, AttributeType::PublicExponent],
        KeyKind::Ec(_) | KeyKind::Ed25519 => &[AttributeType::EcPoint],
        KeyKind::MlDsa(_) => &[],
    };
    for attribute in session.get_attributes(object, wanted)? {
        match attribute {
            Attribute::EcPoint(value) => point = Some(value),
            Attribute::Modulus(value) => modulus = Some(value),
            Attribute::PublicExponent(value) => exponent = Some(value),
            _ => {}
        }
    }
    Ok(match kind {
        KeyKind::Rsa => modulus
            .zip(exponent)
            .and_then(|(modulus, exponent)| PublicKey::from_rsa(&modulus, &exponent)),
        KeyKind::Ec(curve) => {
            let len = 1 + 2 * curve.field_len();
            point.and_then(|point| PublicKey::from_raw(unwrap_point(&point, len)?))
        }
        KeyKind::Ed25519 => point.and_then(|point| PublicKey::from_raw(unwrap_point(&point, 32)?)),
        KeyKind::MlDsa(_) => None,
    })
}

/// `CKA_PUBLIC_KEY_INFO` of either object, or `CKA_VALUE` of a public key (PKCS#11 3.2, section 6.67.2). That of a private
/// key is the secret, which nobody asks for here.
fn read_ml_dsa(
    session: &Session,
    object: ObjectHandle,
    set: MlDsa,
) -> cryptoki::error::Result<Option<PublicKey>> {
    let mut is_public = false;
    let mut info = None;
    let wanted = [AttributeType::Class, AttributeType::PublicKeyInfo];
    for attribute in session.get_attributes(object, &wanted)? {
        match attribute {
            Attribute::Class(class) => is_public = class == ObjectClass::PUBLIC_KEY,
            Attribute::PublicKeyInfo(value) => info = Some(value),
            _ => {}
        }
    }
    let of_this_set = |key: &PublicKey| key.spec() == Some(set.spec());
    let info = info.and_then(|info| PublicKey::from_spki(&info));
    if let Some(key) = info.filter(of_this_set) {
        return Ok(Some(key));
    }
    if !is_public {
        return Ok(None);
    }
    let value = session
        .get_attributes(object, &[AttributeType::Value])?
        .pop();
    Ok(match value {
        Some(Attribute::Value(value)) => PublicKey::from_ml_dsa(&value).filter(of_this_set),
        _ => None,
    })
}

/// The kind of key behind `CKA_KEY_TYPE` and `CKA_EC_PARAMS`; `Err` gives the parameters of a curve
/// that is not known.
pub(crate) fn kind_of(
    key_type: KeyType,
    ec_params: Option<&[u8]>,
) -> Option<Result<KeyKind, Vec<u8>>> {
    let params = ec_params.unwrap_or_default();
    if key_type == KeyType::RSA {
        return Some(Ok(KeyKind::Rsa));
    }
    if key_type == KeyType::EC {
        let curve = Curve::ALL
            .into_iter()
            .find(|curve| oid_der(curve.oid()).as_deref() == Some(params));
        return Some(curve.map(KeyKind::Ec).ok_or_else(|| params.to_vec()));
    }
    if key_type == KeyType::EC_EDWARDS {
        let known = oid_der(curve::ED25519).as_deref() == Some(params) || params == ED25519_NAME;
        return Some(if known {
            Ok(KeyKind::Ed25519)
        } else {
            Err(params.to_vec())
        });
    }
    None
}

/// `CKA_EC_PARAMS` of a curve: the DER of its OID.
pub(crate) fn oid_der(oid: ObjectIdentifier) -> Option<Vec<u8>> {
    oid.to_der().ok()
}

/// `CKA_EC_PARAMS` of Ed25519 as PKCS#11 3.0 has it (section 2.3.10, `curveName`), which modules
/// older than its OID know only.
pub(crate) const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// `CKA_EC_POINT` is a DER OCTET STRING by the standard, and bare in some modules. Only one of the
/// two readings can have the length of a point.
fn unwrap_point(value: &[u8], len: usize) -> Option<&[u8]> {
    if value.len() == len {
        return Some(value);
    }
    let inner = der::asn1::OctetStringRef::from_der(value).ok()?.as_bytes();
    (inner.len() == len).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_point_are_read() {
        let mut wrapped = vec![0x04, 32];
        wrapped.extend([7; 32]);
        assert_eq!(unwrap_point(&wrapped, 32), Some(&[7; 32][..]));
        assert_eq!(unwrap_point(&[7; 32], 32), Some(&[7; 32][..]));
        assert_eq!(unwrap_point(&[7; 33], 32), None);
    }

    #[test]
    fn an_unknown_curve_is_no_p256() {
        let secp256k1 = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
        assert_eq!(
            kind_of(KeyType::EC, Some(&secp256k1)),
            Some(Err(secp256k1.to_vec()))
        );
        let p256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        assert_eq!(
            kind_of(KeyType::EC, Some(&p256)),
            Some(Ok(KeyKind::Ec(Curve::P256)))
        );
        assert_eq!(kind_of(KeyType::AES, None), None);
    }
}
