//! Certificates, as a person or a check wants to know them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tedge_p11_client::{PrivateKey, ml_dsa, read_certificates};
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH};
use x509_cert::der::oid::db::{DB, rfc5912};
use x509_cert::der::{DateTime, Decode, Encode as _, Reader as _, SliceReader};
use x509_cert::der::{Tag, Tagged as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::names::{self, Names};
use crate::output::pem;
use crate::renewal_plan::Term;
use crate::{trial, verification};

/// An X.509 certificate.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    parsed: CertificateInner<Raw>,
}

/// Whether one certificate is signed by the key of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Issued {
    No,
    /// The names fit, but nothing here can verify the signature.
    Unverified,
    Yes,
}

/// Reads the certificates of a file; there is one at least.
pub(crate) fn read_chain(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let chain = read_certificates(path)?.into_iter().zip(1..);
    chain
        .map(|(der, number)| {
            Certificate::from_der(der.to_vec())
                .with_context(|| format!("certificate {number} in {}", path.display()))
        })
        .collect()
}

/// A moment in seconds of the Unix epoch, as RFC 3339 has it.
pub(crate) fn time(seconds: u64) -> String {
    let time = DateTime::from_unix_duration(Duration::from_secs(seconds));
    time.map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// The content of a PEM file with these certificates.
pub(crate) fn to_pem<'a>(
    chain: impl IntoIterator<Item = &'a Certificate>,
) -> anyhow::Result<String> {
    // Not as parsed and written again, which need not be the same bytes.
    let texts = chain
        .into_iter()
        .map(|certificate| pem("CERTIFICATE", &certificate.der));
    texts.collect()
}

/// How long a certificate is still valid, or was, in whole days or, if these are few, hours.
pub(crate) fn in_days(span: Duration) -> String {
    match span.as_secs() / (60 * 60) {
        1 => "1 hour".to_owned(),
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

impl Certificate {
    pub(crate) fn from_der(der: Vec<u8>) -> anyhow::Result<Self> {
        let parsed = CertificateInner::from_der(&der)
            .map_err(|error| anyhow!("it cannot be understood: {error}"))?;
        Ok(Self {
            der: CertificateDer::from(der),
            parsed,
        })
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// 1, 2 or 3. What has no extensions may be of version 1, which some servers refuse.
    pub(crate) fn version(&self) -> u8 {
        match self.parsed.tbs_certificate.version {
            Version::V1 => 1,
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }

    pub(crate) fn subject(&self) -> &Name {
        &self.parsed.tbs_certificate.subject
    }

    pub(crate) fn issuer(&self) -> &Name {
        &self.parsed.tbs_certificate.issuer
    }

    /// Hexadecimal, with colons.
    pub(crate) fn serial(&self) -> String {
        with_colons(self.parsed.tbs_certificate.serial_number.as_bytes())
    }

    /// Since the Unix epoch.
    pub(crate) fn not_before(&self) -> Duration {
        let validity = self.parsed.tbs_certificate.validity;
        validity.not_before.to_unix_duration()
    }

    /// Since the Unix epoch.
    pub(crate) fn not_after(&self) -> Duration {
        let validity = self.parsed.tbs_certificate.validity;
        validity.not_after.to_unix_duration()
    }

    /// What its renewal goes by.
    pub(crate) fn term(&self) -> Term {
        let validity = self.parsed.tbs_certificate.validity;
        Term {
            from: validity.not_before.to_unix_duration().as_secs(),
            until: validity.not_after.to_unix_duration().as_secs(),
            fingerprint: Sha256::digest(self.der()).into(),
        }
    }

    /// When it begins and ends to be valid, as RFC 3339 has it.
    pub(crate) fn validity(&self) -> (String, String) {
        let validity = &self.parsed.tbs_certificate.validity;
        (
            validity.not_before.to_string(),
            validity.not_after.to_string(),
        )
    }

    /// Whole days from `now` on, negative if it has expired.
    pub(crate) fn days_left(&self, now: Duration) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        (seconds(self.not_after()) - seconds(now)).div_euclid(SECONDS_A_DAY)
    }

    /// The first common name of the subject: by convention the device's id.
    pub(crate) fn common_name(&self) -> Option<String> {
        let mut attributes = self.subject().0.iter().flat_map(|rdn| rdn.0.iter());
        let name = attributes.find(|attribute| attribute.oid == names::COMMON_NAME)?;
        matches!(name.value.tag(), Tag::Utf8String | Tag::PrintableString)
            .then(|| String::from_utf8(name.value.value().to_vec()).ok())?
    }

    /// Fails if the extension is there and malformed.
    pub(crate) fn alternative_names(&self) -> anyhow::Result<Vec<GeneralName>> {
        let names: Option<SubjectAltName> = self.extension()?;
        Ok(names.map(|names| names.0).unwrap_or_default())
    }

    /// Subject and alternatives, for a request that is to have the same. Fails if the extension is malformed.
    pub(crate) fn names(&self) -> anyhow::Result<Names> {
        Ok(Names {
            subject: self.subject().clone(),
            alternatives: self.alternative_names()?,
        })
    }

    /// The names of the bits and purposes of both extensions, as RFC 5280 has them.
    pub(crate) fn usages(&self) -> anyhow::Result<Vec<String>> {
        let mut usages = Vec::new();
        if let Some(KeyUsage(bits)) = self.extension()? {
            usages.extend(bits.into_iter().map(|bit| lower_camel(&format!("{bit:?}"))));
        }
        if let Some(ExtendedKeyUsage(purposes)) = self.extension()? {
            usages.extend(purposes.iter().map(|oid| oid_name(*oid, "id-kp-")));
        }
        if let Some(BasicConstraints { ca: true, .. }) = self.extension()? {
            usages.push("CA".to_owned());
        }
        Ok(usages)
    }

    /// Whether a TLS client may use it (RFC 5280, section 4.2.1.12): without the extension, it is for
    /// everything.
    pub(crate) fn is_for_clients(&self) -> bool {
        match self.extension() {
            Ok(Some(ExtendedKeyUsage(purposes))) => purposes
                .iter()
                .any(|oid| [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE].contains(oid)),
            _ => true,
        }
    }

    /// Whether it is a CA's that may issue a certificate with so many CAs below it (RFC 5280, sections
    /// 4.2.1.9 and 4.2.1.3).
    pub(crate) fn may_issue(&self, below: usize) -> bool {
        let is_ca = match self.extension() {
            Ok(Some(BasicConstraints {
                ca: true,
                path_len_constraint,
            })) => path_len_constraint.is_none_or(|len| below <= usize::from(len)),
            _ => false,
        };
        let may_sign = match self.extension() {
            Ok(Some(usage)) => KeyUsage::key_cert_sign(&usage),
            Ok(None) => true,
            Err(_) => false,
        };
        is_ca && may_sign
    }

    /// DER SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.public_key().to_der()?)
    }

    /// Fails unless it is for the key.
    pub(crate) fn check_key(&self, key: &dyn PrivateKey) -> anyhow::Result<()> {
        if self.spki()? != key.public_key().spki() {
            bail!(
                "the certificate is not for the key {}: their public keys differ",
                key.uri()
            );
        }
        Ok(())
    }

    /// What the public key is, as people call it.
    pub(crate) fn key_type(&self) -> String {
        let key = self.public_key();
        let parameters = key.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
        if let Some(curve) = curve {
            return match oid_name(curve, "").as_str() {
                "secp256r1" => "EC P-256".to_owned(),
                "secp384r1" => "EC P-384".to_owned(),
                "secp521r1" => "EC P-521".to_owned(),
                other => format!("EC {other}"),
            };
        }
        let is_rsa = key.algorithm.oid == rfc5912::RSA_ENCRYPTION;
        match is_rsa.then(|| rsa_bits(key.subject_public_key.raw_bytes())) {
            Some(Some(bits)) => format!("RSA {bits}"),
            _ => oid_name(key.algorithm.oid, "id-"),
        }
    }

    pub(crate) fn signature_algorithm(&self) -> String {
        oid_name(self.parsed.signature_algorithm.oid, "id-")
    }

    /// SHA-256 of the certificate.
    pub(crate) fn fingerprint(&self) -> String {
        with_colons(&Sha256::digest(&self.der))
    }

    /// Whether the name and the key of `issuer` made it.
    pub(crate) fn issued_by(&self, issuer: &Self) -> Issued {
        if self.issuer() != issuer.subject() {
            return Issued::No;
        }
        let algorithm = &self.parsed.signature_algorithm;
        let key = issuer.public_key();
        let verifier = verification::algorithms().all.iter().find(|verifier| {
            trial::is_algorithm(verifier.signature_alg_id(), algorithm)
                && trial::is_algorithm(verifier.public_key_alg_id(), &key.algorithm)
        });
        let (Some(verifier), Ok(signed)) = (verifier, signed_part(&self.der)) else {
            return Issued::Unverified;
        };
        let signature = self.parsed.signature.raw_bytes();
        match verifier.verify_signature(key.subject_public_key.raw_bytes(), signed, signature) {
            Ok(()) => Issued::Yes,
            Err(_) => Issued::No,
        }
    }

    fn public_key(&self) -> &SubjectPublicKeyInfoOwned {
        &self.parsed.tbs_certificate.subject_public_key_info
    }

    fn extension<'a, T: Decode<'a> + AssociatedOid>(&'a self) -> anyhow::Result<Option<T>> {
        let found = self.parsed.tbs_certificate.get::<T>();
        let found = found.with_context(|| {
            let name = oid_name(T::OID, "id-ce-");
            format!("its extension {name} is malformed or there twice")
        })?;
        Ok(found.map(|(_critical, extension)| extension))
    }
}

/// What the signature of a certificate is about, to the byte.
fn signed_part(certificate: &[u8]) -> x509_cert::der::Result<&[u8]> {
    let mut outer = SliceReader::new(certificate)?;
    x509_cert::der::Header::decode(&mut outer)?;
    outer.tlv_bytes()
}

/// RFC 8017, appendix A.1.1.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let modulus = || {
        let mut reader = SliceReader::new(key)?;
        x509_cert::der::Header::decode(&mut reader)?;
        UintRef::decode(&mut reader)
    };
    let modulus = modulus().ok()?;
    let first = modulus.as_bytes().first()?;
    Some(modulus.as_bytes().len() * 8 - first.leading_zeros() as usize)
}

/// The name of an object identifier without `prefix`, or its numbers.
fn oid_name(oid: ObjectIdentifier, prefix: &str) -> String {
    if let Some((_, name)) = ML_DSA.iter().find(|(known, _)| *known == oid) {
        return (*name).to_owned();
    }
    match DB.by_oid(&oid) {
        Some(name) => name.strip_prefix(prefix).unwrap_or(name).to_owned(),
        None => oid.to_string(),
    }
}

/// RFC 9881, which the database does not have yet.
const ML_DSA: [(ObjectIdentifier, &str); 3] = [
    (ml_dsa::ML_DSA_44, "ML-DSA-44"),
    (ml_dsa::ML_DSA_65, "ML-DSA-65"),
    (ml_dsa::ML_DSA_87, "ML-DSA-87"),
];

fn with_colons(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    digits.join(":")
}

/// `KeyCertSign` as `keyCertSign`; `CRLSign` as RFC 5280 has it, `cRLSign`.
fn lower_camel(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_lowercase())
}

const SECONDS_A_DAY: i64 = 24 * 60 * 60;
