//! What C_GenerateKeyPair is to make.

use cryptoki_sys::*;
use der::Encode as _;
use der::asn1::ObjectIdentifier;
use tedge_p11_client::KeySpec;
use tedge_p11_protocol::curve;

use crate::rv::{Result, Rv};
use crate::template::Template;

/// A key pair to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewKey {
    pub(crate) spec: KeySpec,
    pub(crate) label: String,
    pub(crate) id: Option<Vec<u8>>,
}

impl NewKey {
    /// From the templates for the public and the private key. Uses that are asked for besides signing are
    /// passed over, as the attributes of the new key tell; a key that could leave the token is refused.
    pub(crate) fn of(key_type: CK_KEY_TYPE, public: &Template, private: &Template) -> Result<Self> {
        let spec = match key_type {
            CKK_RSA => rsa(public)?,
            _ => ec(key_type, public)?,
        };
        for (template, class) in [(public, CKO_PUBLIC_KEY), (private, CKO_PRIVATE_KEY)] {
            let is = |attribute, wanted: CK_ULONG| -> Result<bool> {
                let own = template.number(attribute)?;
                Ok(own.is_none_or(|own| own == wanted))
            };
            let on_token = template.flag(CKA_TOKEN)? == Some(true);
            if !on_token || !is(CKA_CLASS, class)? || !is(CKA_KEY_TYPE, key_type)? {
                return Err(Rv(CKR_TEMPLATE_INCONSISTENT));
            }
        }
        let leaves = private.flag(CKA_EXTRACTABLE)? == Some(true);
        let is_open = private.flag(CKA_SENSITIVE)? == Some(false);
        if leaves || is_open || private.flag(CKA_SIGN)? == Some(false) {
            return Err(Rv(CKR_TEMPLATE_INCONSISTENT));
        }
        let label = common(public, private, CKA_LABEL)?.unwrap_or_default();
        let label = String::from_utf8(label.to_vec());
        Ok(Self {
            spec,
            label: label.map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?,
            id: common(public, private, CKA_ID)?
                .filter(|id| !id.is_empty())
                .map(<[u8]>::to_vec),
        })
    }
}

/// The value in both templates, or in one.
fn common<'a>(
    public: &'a Template,
    private: &'a Template,
    attribute: CK_ATTRIBUTE_TYPE,
) -> Result<Option<&'a [u8]>> {
    match (public.get(attribute), private.get(attribute)) {
        (Some(one), Some(other)) if one != other => Err(Rv(CKR_TEMPLATE_INCONSISTENT)),
        (one, other) => Ok(one.or(other)),
    }
}

fn rsa(public: &Template) -> Result<KeySpec> {
    let exponent = public.get(CKA_PUBLIC_EXPONENT);
    let without_zeros = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    };
    if exponent.is_some_and(|exponent| without_zeros(exponent) != [1, 0, 1]) {
        return Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID));
    }
    match public.number(CKA_MODULUS_BITS)? {
        Some(2048) => Ok(KeySpec::Rsa2048),
        Some(3072) => Ok(KeySpec::Rsa3072),
        Some(4096) => Ok(KeySpec::Rsa4096),
        Some(_) => Err(Rv(CKR_KEY_SIZE_RANGE)),
        None => Err(Rv(CKR_TEMPLATE_INCOMPLETE)),
    }
}

fn ec(key_type: CK_KEY_TYPE, public: &Template) -> Result<KeySpec> {
    let params = public.get(CKA_EC_PARAMS);
    let params = params.ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
    let is_edwards = key_type == CKK_EC_EDWARDS;
    if is_edwards && params == EDWARDS25519 {
        return Ok(KeySpec::Ed25519);
    }
    let mut curves = CURVES.iter();
    curves
        .find(|(spec, curve)| {
            is_edwards == (*spec == KeySpec::Ed25519)
                && curve.to_der().is_ok_and(|der| der == params)
        })
        .map(|(spec, _)| *spec)
        .ok_or(Rv(CKR_CURVE_NOT_SUPPORTED))
}

const CURVES: [(KeySpec, ObjectIdentifier); 4] = [
    (KeySpec::EcP256, curve::P256),
    (KeySpec::EcP384, curve::P384),
    (KeySpec::EcP521, curve::P521),
    (KeySpec::Ed25519, curve::ED25519),
];
/// The curve's name as a PrintableString, the other form of PKCS#11 3.0, section 2.3.10.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";

#[cfg(test)]
mod tests {
    use super::*;

    fn template(attributes: &[(CK_ATTRIBUTE_TYPE, &[u8])]) -> Template {
        let owned = |(attribute, value): &(CK_ATTRIBUTE_TYPE, &[u8])| (*attribute, value.to_vec());
        Template::new(attributes.iter().map(owned).collect())
    }

    #[test]
    fn templates_say_what_to_make() {
        let params = curve::P384.to_der().unwrap();
        let public = template(&[
            (CKA_TOKEN, &[1]),
            (CKA_EC_PARAMS, &params),
            (CKA_LABEL, b"tls"),
        ]);
        let private = template(&[(CKA_TOKEN, &[1]), (CKA_ID, &[7]), (CKA_DECRYPT, &[1])]);
        let key = NewKey::of(CKK_EC, &public, &private).unwrap();
        assert_eq!(
            key,
            NewKey {
                spec: KeySpec::EcP384,
                label: "tls".to_owned(),
                id: Some(vec![7])
            }
        );
        for (key_type, public, private, rv) in [
            (
                CKK_EC_EDWARDS,
                public.clone(),
                private.clone(),
                CKR_CURVE_NOT_SUPPORTED,
            ),
            (
                CKK_RSA,
                public.clone(),
                private.clone(),
                CKR_TEMPLATE_INCOMPLETE,
            ),
            (
                CKK_EC,
                public.clone(),
                template(&[]),
                CKR_TEMPLATE_INCONSISTENT,
            ),
            (
                CKK_EC,
                public.clone(),
                template(&[(CKA_TOKEN, &[1]), (CKA_EXTRACTABLE, &[1])]),
                CKR_TEMPLATE_INCONSISTENT,
            ),
            (
                CKK_EC,
                public.clone(),
                template(&[(CKA_TOKEN, &[1]), (CKA_LABEL, b"other")]),
                CKR_TEMPLATE_INCONSISTENT,
            ),
            (
                CKK_EC,
                public,
                template(&[(CKA_TOKEN, &[1, 0])]),
                CKR_ATTRIBUTE_VALUE_INVALID,
            ),
        ] {
            let made = NewKey::of(key_type, &public, &private);
            assert_eq!(made, Err(Rv(rv)), "{public:?} {private:?}");
        }
    }
}
