//! What an EST server wants requests to have (RFC 7030, section 4.5.2; RFC 8951, section 3.4).

use anyhow::anyhow;
use tedge_p11_client::ml_dsa;
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::oid::db::rfc5280::ID_CE_EXT_KEY_USAGE;
use x509_cert::der::oid::db::rfc5280::{ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME};
use x509_cert::der::oid::db::{DB, rfc5912, rfc8410};
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::ext::{Extension, Extensions};

use crate::key_type::KeyType;
use crate::names;

/// What is understood of it, and what is not.
#[derive(Debug, Default)]
pub(super) struct CsrAttributes {
    /// The type of the key.
    pub(super) key_type: Option<KeyType>,
    /// What the request is signed with.
    pub(super) signature: Vec<ObjectIdentifier>,
    /// Extensions with what is in them.
    pub(super) extensions: Extensions,
    /// Whether there must be alternative names, which only the operator can know.
    pub(super) alternative_names: bool,
    /// What nobody here can do.
    pub(super) unknown: Vec<String>,
}

impl CsrAttributes {
    /// Reads DER. What is there twice counts once, and what is too much is left out.
    pub(super) fn parse(der: &[u8]) -> anyhow::Result<Self> {
        let elements = Vec::<Any>::from_der(der).map_err(|error| {
            anyhow!("the CSR attributes that the server wants are not what RFC 7030 has: {error}")
        })?;
        let mut wanted = Self::default();
        for element in elements.iter().take(MOST) {
            match element.tag() {
                Tag::ObjectIdentifier => match element.decode_as() {
                    Ok(oid) => wanted.add_oid(oid),
                    Err(_) => wanted.add_unknown("an object identifier that is none".to_owned()),
                },
                _ => match element.decode_as::<Attribute>() {
                    Ok(attribute) => wanted.add_attribute(&attribute),
                    Err(_) => wanted.add_unknown("an attribute that is malformed".to_owned()),
                },
            }
        }
        Ok(wanted)
    }

    fn add_oid(&mut self, oid: ObjectIdentifier) {
        match oid {
            CHALLENGE_PASSWORD => self.add_unknown(
                "challengePassword, the binding to the TLS connection, which TLS 1.3 does not have"
                    .to_owned(),
            ),
            rfc8410::ID_ED_25519 => self.key_type = Some(KeyType::Ed25519),
            ml_dsa::ML_DSA_44 => self.key_type = Some(KeyType::MlDsa44),
            ml_dsa::ML_DSA_65 => self.key_type = Some(KeyType::MlDsa65),
            ml_dsa::ML_DSA_87 => self.key_type = Some(KeyType::MlDsa87),
            // Of any curve or size.
            rfc5912::ID_EC_PUBLIC_KEY => self.key_type = self.key_type.or(Some(KeyType::P256)),
            rfc5912::RSA_ENCRYPTION => self.key_type = self.key_type.or(Some(KeyType::Rsa2048)),
            // The device's id is there in any case.
            names::COMMON_NAME => {}
            _ if SIGNATURES.contains(&oid) => self.signature.push(oid),
            _ => self.add_extension_type(oid),
        }
    }

    fn add_attribute(&mut self, attribute: &Attribute) {
        let mut values = attribute.values.iter();
        match attribute.oid {
            EXTENSION_REQUEST => {
                for value in values.take(MOST) {
                    self.add_extensions(value);
                }
            }
            rfc5912::ID_EC_PUBLIC_KEY => {
                let curve = values.find_map(|value| value.decode_as().ok());
                match curve {
                    Some(rfc5912::SECP_256_R_1) => self.key_type = Some(KeyType::P256),
                    Some(rfc5912::SECP_384_R_1) => self.key_type = Some(KeyType::P384),
                    Some(rfc5912::SECP_521_R_1) => self.key_type = Some(KeyType::P521),
                    Some(other) => self.add_unknown(format!("a key on the curve {}", name(other))),
                    None => self.add_oid(attribute.oid),
                }
            }
            rfc5912::RSA_ENCRYPTION => {
                let bits = values.find_map(|value| value.decode_as::<u32>().ok());
                match bits {
                    Some(2048) => self.key_type = Some(KeyType::Rsa2048),
                    Some(3072) => self.key_type = Some(KeyType::Rsa3072),
                    Some(4096) => self.key_type = Some(KeyType::Rsa4096),
                    Some(other) => self.add_unknown(format!("an RSA key of {other} bits")),
                    None => self.add_oid(attribute.oid),
                }
            }
            other => self.add_oid(other),
        }
    }

    /// Servers have whole extensions there, as RFC 2985 has them, or object identifiers only, as the example in RFC 7030.
    fn add_extensions(&mut self, value: &Any) {
        if let Ok(oid) = value.decode_as() {
            self.add_extension_type(oid);
        } else if let Ok(extensions) = value.decode_as::<Extensions>() {
            for extension in extensions.into_iter().take(MOST) {
                self.add_extension(extension);
            }
        } else if let Ok(types) = value.decode_as::<Vec<ObjectIdentifier>>() {
            for oid in types.into_iter().take(MOST) {
                self.add_extension_type(oid);
            }
        } else {
            self.add_unknown("extensions that are malformed".to_owned());
        }
    }

    fn add_extension(&mut self, extension: Extension) {
        // Names are the operator's business.
        if extension.extn_id == ID_CE_SUBJECT_ALT_NAME {
            self.alternative_names = true;
            return;
        }
        let len = extension.extn_value.as_bytes().len();
        let other: usize = self
            .extensions
            .iter()
            .map(|e| e.extn_value.as_bytes().len())
            .sum();
        if len + other > MAX_EXTENSIONS {
            self.add_unknown("extensions that are too long".to_owned());
            return;
        }
        self.extensions
            .retain(|other| other.extn_id != extension.extn_id);
        self.extensions.push(extension);
    }

    fn add_extension_type(&mut self, oid: ObjectIdentifier) {
        match oid {
            // Those of a TLS client are in each request.
            ID_CE_KEY_USAGE | ID_CE_EXT_KEY_USAGE => {}
            ID_CE_SUBJECT_ALT_NAME => self.alternative_names = true,
            _ => self.add_unknown(name(oid)),
        }
    }

    fn add_unknown(&mut self, what: String) {
        if !self.unknown.contains(&what) && self.unknown.len() < MOST_SAID {
            self.unknown.push(what);
        }
    }
}

/// The name of an object identifier, or its numbers.
fn name(oid: ObjectIdentifier) -> String {
    DB.by_oid(&oid)
        .map_or_else(|| oid.to_string(), ToOwned::to_owned)
}

/// PKCS #9 (RFC 2985, sections 5.4.1 and 5.4.2).
const CHALLENGE_PASSWORD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
/// What requests may be signed with.
const SIGNATURES: [ObjectIdentifier; 6] = [
    rfc5912::ECDSA_WITH_SHA_256,
    rfc5912::ECDSA_WITH_SHA_384,
    rfc5912::ECDSA_WITH_SHA_512,
    rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
    rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
    rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
];
/// Attributes, and extensions in one.
const MOST: usize = 50;
/// Bytes of all extensions together: a request has 8 KiB at most for the signer.
const MAX_EXTENSIONS: usize = 4096;
/// Of those that are not understood.
const MOST_SAID: usize = 8;

/// What a person would see of them: for fuzz/.
#[must_use]
pub fn texts(der: &[u8]) -> Vec<String> {
    match CsrAttributes::parse(der) {
        Ok(wanted) => wanted.unknown,
        Err(error) => vec![format!("{error:#}")],
    }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};

    use super::*;

    /// The example of RFC 7030, section 4.5.2.
    #[test]
    fn the_example_of_the_rfc_is_understood() {
        let der = Base64::decode_vec(
            "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==",
        )
        .unwrap();
        let wanted = CsrAttributes::parse(&der).unwrap();
        assert_eq!(wanted.key_type, Some(KeyType::P384));
        assert_eq!(wanted.signature, [rfc5912::ECDSA_WITH_SHA_384]);
        assert!(wanted.extensions.is_empty() && !wanted.alternative_names);
        let unknown = wanted.unknown.join("; ");
        assert!(unknown.contains("challengePassword"), "{unknown}");
        assert!(unknown.contains("1.3.6.1.1.1.1.22"), "{unknown}");
    }

    #[test]
    fn garbage_is_an_error_or_named() {
        for der in [&b""[..], b"\x30", b"\x31\0", b"\x30\x80\0\0", b"AAAA"] {
            assert!(CsrAttributes::parse(der).is_err(), "{der:?}");
        }
        assert!(CsrAttributes::parse(b"\x30\0").unwrap().unknown.is_empty());
        let wanted = CsrAttributes::parse(b"\x30\x02\x30\0").unwrap();
        assert_eq!(wanted.unknown, ["an attribute that is malformed"]);
        // A thousand of what nobody knows are a few words.
        let mut many = Vec::new();
        for number in 0..1000_u16 {
            let [high, low] = number.to_be_bytes();
            many.extend([6, 4, 0x2a, 3, 0x80 | (high << 1 | low >> 7), low & 0x7f]);
        }
        let len = u16::try_from(many.len()).unwrap().to_be_bytes();
        let der = [&[0x30, 0x82, len[0], len[1]], many.as_slice()].concat();
        if let Ok(wanted) = CsrAttributes::parse(&der) {
            assert_eq!(wanted.unknown.len(), MOST_SAID);
        }
    }
}
