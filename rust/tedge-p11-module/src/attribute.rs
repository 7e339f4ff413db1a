//! The attributes of an object: which there are, their types and values (PKCS#11 3.0, sections 4.4 to
//! 4.9, and the sections on RSA, EC and Edwards keys in part 2).

use cryptoki_sys::*;
use der::{Decode as _, Reader as _, SliceReader};
use tedge_p11_protocol::{
    ObjectContent, ObjectFlag as Flag, ObjectFlags, PublicKey, SignatureScheme, Uri,
};

use crate::mechanism;
use crate::public_key::Numbers;
use crate::rv::{Result, Rv};

/// What a list says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which class it has.
    pub class: Class,
    /// `CKA_KEY_TYPE`, of a key.
    pub key_type: CK_KEY_TYPE,
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// RFC 7512 URI, which is its `CKA_UNIQUE_ID` too.
    pub uri: Uri,
    /// Whether it is hidden before a login.
    pub private: bool,
}

/// What its token says of an object besides. Of an older signer, or thin-edge.io's, nothing is known; then an attribute
/// has the value that holds for who uses this module, which gives out no secret and lets no key leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Attributes that are true or false.
    pub flags: ObjectFlags,
    /// `CKA_KEY_GEN_MECHANISM`.
    pub made_by: Option<u64>,
    /// `CKA_SUBJECT` of a key.
    pub subject: Vec<u8>,
}

/// An object in a list of the signer's.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) listed: Listed,
    /// None of a signer that does not tell.
    pub(crate) said: Option<Said>,
    /// If they came along.
    pub(crate) details: Option<Details>,
}

/// The classes of objects that there are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `CKO_PRIVATE_KEY`.
    PrivateKey,
    /// `CKO_PUBLIC_KEY`.
    PublicKey,
    /// `CKO_CERTIFICATE`.
    Certificate,
}

/// What the signer is asked for once somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Details {
    /// Of a key, private or public.
    Key(KeyDetails),
    /// Of a certificate.
    Certificate(CertificateDetails),
}

/// The public half of a key, and what can be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDetails {
    spki: Vec<u8>,
    pub(crate) numbers: Numbers,
    mechanisms: Vec<CK_MECHANISM_TYPE>,
}

/// The parts of a certificate that have attributes, each in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDetails {
    der: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
}

/// What an object says of one of its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This is it.
    Is(Vec<u8>),
    /// It has it, and does not tell.
    Sensitive,
    /// An object of its kind has no such attribute.
    Unknown,
}

/// Whether an attribute of an object of this class takes what its list does not say.
#[must_use]
pub fn needs_details(class: Class, attribute: CK_ATTRIBUTE_TYPE) -> bool {
    match attribute {
        CKA_PUBLIC_KEY_INFO => true,
        CKA_VALUE | CKA_ISSUER | CKA_SUBJECT | CKA_SERIAL_NUMBER => class == Class::Certificate,
        CKA_EC_PARAMS
        | CKA_EC_POINT
        | CKA_MODULUS
        | CKA_MODULUS_BITS
        | CKA_PUBLIC_EXPONENT
        | CKA_ALLOWED_MECHANISMS => class != Class::Certificate,
        _ => false,
    }
}

impl Listed {
    /// The value of an attribute. One that [`needs_details`] and has none is unknown.
    #[must_use]
    pub fn value(
        &self,
        attribute: CK_ATTRIBUTE_TYPE,
        said: &Said,
        details: Option<&Details>,
    ) -> Value {
        let is_key = self.class != Class::Certificate;
        let value = match attribute {
            CKA_CLASS => number(match self.class {
                Class::PrivateKey => CKO_PRIVATE_KEY,
                Class::PublicKey => CKO_PUBLIC_KEY,
                Class::Certificate => CKO_CERTIFICATE,
            }),
            CKA_TOKEN => flag(true),
            // Whether it is hidden here: where the signer logs in, nothing is.
            CKA_PRIVATE => flag(self.private),
            // By C_SetAttributeValue and C_CopyObject, which this module does not have.
            CKA_MODIFIABLE | CKA_COPYABLE => flag(false),
            CKA_DESTROYABLE => flag(is_key && said.flags.get(Flag::Destroyable).unwrap_or(true)),
            CKA_LABEL => self.label.clone().into_bytes(),
            CKA_ID => self.id.clone(),
            CKA_UNIQUE_ID => self.uri.to_string().into_bytes(),
            // Unknown: "the default is empty" (section 4.8).
            CKA_START_DATE | CKA_END_DATE => Vec::new(),
            _ => {
                return match (self.class, details) {
                    (Class::Certificate, details) => certificate(attribute, details),
                    (Class::PrivateKey, _) if self.is_secret(attribute) => Value::Sensitive,
                    (_, details) => self.key(attribute, said, details),
                };
            }
        };
        Value::Is(value)
    }

    fn key(&self, attribute: CK_ATTRIBUTE_TYPE, said: &Said, details: Option<&Details>) -> Value {
        let private = self.class == Class::PrivateKey;
        let value = match attribute {
            CKA_KEY_TYPE => number(self.key_type),
            CKA_SUBJECT => said.subject.clone(),
            CKA_KEY_GEN_MECHANISM => {
                let made_by = said.made_by.and_then(|id| CK_ULONG::try_from(id).ok());
                number(made_by.unwrap_or(CK_UNAVAILABLE_INFORMATION))
            }
            // The signer brings the PIN for each signature where the key wants it.
            CKA_ALWAYS_AUTHENTICATE if private => flag(false),
            _ => match (told(attribute, private), details) {
                (Some((of_token, otherwise)), _) => {
                    flag(said.flags.get(of_token).unwrap_or(otherwise))
                }
                (None, Some(Details::Key(key))) => return key.value(attribute, private),
                _ => return Value::Unknown,
            },
        };
        Value::Is(value)
    }

    /// Whether it is an attribute of the private key of this type that nobody is told.
    fn is_secret(&self, attribute: CK_ATTRIBUTE_TYPE) -> bool {
        match self.key_type {
            CKK_RSA => matches!(
                attribute,
                CKA_PRIVATE_EXPONENT
                    | CKA_PRIME_1
                    | CKA_PRIME_2
                    | CKA_EXPONENT_1
                    | CKA_EXPONENT_2
                    | CKA_COEFFICIENT
            ),
            _ => attribute == CKA_VALUE,
        }
    }
}

/// The flag of a key that the token tells, and what it is otherwise. Of what was before nothing is known then: no is the
/// answer that promises nothing.
fn told(attribute: CK_ATTRIBUTE_TYPE, private: bool) -> Option<(Flag, bool)> {
    Some(match attribute {
        CKA_LOCAL => (Flag::Local, false),
        CKA_DERIVE => (Flag::Derive, false),
        CKA_SIGN if private => (Flag::Sign, true),
        CKA_SIGN_RECOVER if private => (Flag::SignRecover, false),
        CKA_DECRYPT if private => (Flag::Decrypt, false),
        CKA_UNWRAP if private => (Flag::Unwrap, false),
        CKA_SENSITIVE if private => (Flag::Sensitive, true),
        CKA_ALWAYS_SENSITIVE if private => (Flag::AlwaysSensitive, false),
        CKA_EXTRACTABLE if private => (Flag::Extractable, false),
        CKA_NEVER_EXTRACTABLE if private => (Flag::NeverExtractable, false),
        CKA_WRAP_WITH_TRUSTED if private => (Flag::WrapWithTrusted, false),
        CKA_VERIFY if !private => (Flag::Verify, true),
        CKA_VERIFY_RECOVER if !private => (Flag::VerifyRecover, false),
        CKA_ENCRYPT if !private => (Flag::Encrypt, false),
        CKA_WRAP if !private => (Flag::Wrap, false),
        CKA_TRUSTED if !private => (Flag::Trusted, false),
        _ => return None,
    })
}

impl Details {
    /// Of an object of this class, from what a list of the signer's has of it. None if that is no key or certificate
    /// that is known here.
    #[must_use]
    pub fn of(class: Class, content: ObjectContent) -> Option<Self> {
        if class == Class::Certificate {
            let certificate = CertificateDetails::new(content.der.0);
            return certificate.ok().map(Self::Certificate);
        }
        let key = PublicKey::from_spki(&content.der.0)?;
        KeyDetails::new(&key, &content.schemes, content.digests).map(Self::Key)
    }
}

impl KeyDetails {
    /// Of a key with these schemes, which signs digests too or does not. None for one of a kind that is not known here.
    #[must_use]
    pub fn new(key: &PublicKey, schemes: &[SignatureScheme], digests: bool) -> Option<Self> {
        let numbers = Numbers::of(key)?;
        let known = schemes.iter();
        let mut mechanisms: Vec<_> = known
            .filter_map(|scheme| mechanism::of_scheme(*scheme))
            .collect();
        if digests {
            mechanisms.extend(mechanism::of_digests(numbers.key_type()));
        }
        Some(Self {
            spki: key.spki().to_vec(),
            numbers,
            mechanisms,
        })
    }

    fn value(&self, attribute: CK_ATTRIBUTE_TYPE, private: bool) -> Value {
        let value = match (attribute, &self.numbers) {
            (CKA_PUBLIC_KEY_INFO, _) => self.spki.clone(),
            (CKA_ALLOWED_MECHANISMS, _) if private => {
                let mechanisms = self.mechanisms.iter();
                mechanisms.flat_map(|id| number(*id)).collect()
            }
            (CKA_EC_PARAMS, Numbers::Ec { params, .. }) => params.clone(),
            // Programs ask the private key for it too, and spare themselves a search.
            (CKA_EC_POINT, Numbers::Ec { point, .. }) => point.clone(),
            (CKA_MODULUS, Numbers::Rsa { modulus, .. }) => modulus.clone(),
            (CKA_PUBLIC_EXPONENT, Numbers::Rsa { exponent, .. }) => exponent.clone(),
            (CKA_MODULUS_BITS, Numbers::Rsa { modulus, .. }) if !private => number(bits(modulus)),
            _ => return Value::Unknown,
        };
        Value::Is(value)
    }
}

impl CertificateDetails {
    /// Takes any X.509 certificate apart, version 1 too; nothing else is looked at (RFC 5280, section 4.1).
    pub fn new(der: Vec<u8>) -> Result<Self> {
        let parts = parts(&der).map_err(|_| Rv(CKR_FUNCTION_FAILED))?;
        let [serial, issuer, subject, spki] = parts.map(<[u8]>::to_vec);
        Ok(Self {
            der,
            serial,
            issuer,
            subject,
            spki,
        })
    }
}

/// Serial number, issuer, subject and public key.
fn parts(der: &[u8]) -> der::Result<[&[u8]; 4]> {
    let certificate = der::AnyRef::from_der(der)?;
    certificate.sequence(|certificate| {
        let to_be_signed = certificate.tlv_bytes()?;
        while !certificate.is_finished() {
            certificate.tlv_bytes()?;
        }
        let to_be_signed = der::AnyRef::from_der(to_be_signed)?;
        let mut fields = SliceReader::new(to_be_signed.value())?;
        let has_version = fields.peek_tag()?.is_context_specific();
        if has_version {
            fields.tlv_bytes()?;
        }
        let serial = fields.tlv_bytes()?;
        let _algorithm = fields.tlv_bytes()?;
        let issuer = fields.tlv_bytes()?;
        let _validity = fields.tlv_bytes()?;
        Ok([serial, issuer, fields.tlv_bytes()?, fields.tlv_bytes()?])
    })
}

fn certificate(attribute: CK_ATTRIBUTE_TYPE, details: Option<&Details>) -> Value {
    let value = match attribute {
        CKA_CERTIFICATE_TYPE => number(CKC_X_509),
        CKA_CERTIFICATE_CATEGORY => number(CK_CERTIFICATE_CATEGORY_UNSPECIFIED),
        CKA_JAVA_MIDP_SECURITY_DOMAIN => number(CK_SECURITY_DOMAIN_UNSPECIFIED),
        CKA_TRUSTED => flag(false),
        CKA_URL | CKA_HASH_OF_SUBJECT_PUBLIC_KEY | CKA_HASH_OF_ISSUER_PUBLIC_KEY => Vec::new(),
        _ => {
            let Some(Details::Certificate(certificate)) = details else {
                return Value::Unknown;
            };
            let part = match attribute {
                CKA_VALUE => &certificate.der,
                CKA_SERIAL_NUMBER => &certificate.serial,
                CKA_ISSUER => &certificate.issuer,
                CKA_SUBJECT => &certificate.subject,
                CKA_PUBLIC_KEY_INFO => &certificate.spki,
                _ => return Value::Unknown,
            };
            part.clone()
        }
    };
    Value::Is(value)
}

fn flag(value: bool) -> Vec<u8> {
    vec![CK_BBOOL::from(value)]
}

fn number(value: CK_ULONG) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// Bits of a number without leading zeros.
fn bits(number: &[u8]) -> CK_ULONG {
    let Some(first) = number.first() else {
        return 0;
    };
    number.len() as CK_ULONG * 8 - CK_ULONG::from(first.leading_zeros())
}
