//! Certificate requests and self-signed certificates, signed by the key on the token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use sha2::{Digest as _, Sha256};
use tedge_p11_client::{PrivateKey, SignatureScheme, ml_dsa};
use x509_cert::attr::Attributes;
use x509_cert::der::asn1::{
    Any, BitString, GeneralizedTime, ObjectIdentifier, OctetString, UtcTime,
};
use x509_cert::der::oid::db::{rfc5280, rfc5912, rfc8410};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode as _, Encode as _, EncodePem as _};
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{AsExtension as _, Extension, Extensions};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};

use crate::names::Names;

/// What a request has that a CA asked for.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// In place of those of the same kind that it would have.
    pub(crate) extensions: Extensions,
    /// What it is signed with, if the key can.
    pub(crate) signature: Option<ObjectIdentifier>,
}

/// A certificate signing request (RFC 2986) for `key`, in PEM: for digital signatures of a TLS client.
pub(crate) fn request(key: &dyn PrivateKey, names: Names) -> anyhow::Result<String> {
    request_with(key, names, Extras::default())
}

/// The same with what a CA asked for.
pub(crate) fn request_with(
    key: &dyn PrivateKey,
    names: Names,
    extras: Extras,
) -> anyhow::Result<String> {
    let mut extensions = client_extensions(&names)?;
    for extra in extras.extensions {
        extensions.retain(|extension| extension.extn_id != extra.extn_id);
        extensions.push(extra);
    }
    let request = ExtensionReq(extensions).try_into()?;
    let info = CertReqInfo {
        version: x509_cert::request::Version::V1,
        subject: names.subject,
        public_key: public_key(key)?,
        attributes: Attributes::try_from(vec![request])?,
    };
    let (scheme, algorithm) = algorithm(key, extras.signature)?;
    let signature = sign(key, scheme, &info.to_der()?)?;
    let request = CertReq {
        info,
        algorithm,
        signature,
    };
    Ok(request.to_pem(LineEnding::LF)?)
}

/// A certificate (RFC 5280) that `key` issues for itself, in PEM, valid from now on. `ca` says
/// CA:TRUE, which some clouds ask of a certificate that they shall trust.
pub(crate) fn self_signed(
    key: &dyn PrivateKey,
    names: Names,
    valid_for: Duration,
    ca: bool,
) -> anyhow::Result<String> {
    let public_key = public_key(key)?;
    let (scheme, algorithm) = algorithm(key, None)?;
    let mut extensions = client_extensions(&names)?;
    // RFC 7093, section 2, method 1.
    let key_id = &Sha256::digest(public_key.subject_public_key.raw_bytes())[..20];
    let key_id = SubjectKeyIdentifier(OctetString::new(key_id)?);
    extensions.push(key_id.to_extension(&names.subject, &[])?);
    let constraints = BasicConstraints {
        ca,
        path_len_constraint: None,
    };
    extensions.push(constraints.to_extension(&names.subject, &[])?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let tbs_certificate = TbsCertificate {
        version: x509_cert::Version::V3,
        serial_number: serial_number()?,
        signature: algorithm.clone(),
        issuer: names.subject.clone(),
        validity: Validity {
            not_before: time(now)?,
            not_after: time(now + valid_for)?,
        },
        subject: names.subject,
        subject_public_key_info: public_key,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    };
    let signature = sign(key, scheme, &tbs_certificate.to_der()?)?;
    let certificate = Certificate {
        tbs_certificate,
        signature_algorithm: algorithm,
        signature,
    };
    Ok(certificate.to_pem(LineEnding::LF)?)
}

fn client_extensions(names: &Names) -> anyhow::Result<Extensions> {
    let subject = &names.subject;
    let client = ExtendedKeyUsage(vec![rfc5280::ID_KP_CLIENT_AUTH]);
    let mut extensions = vec![
        KeyUsage(KeyUsages::DigitalSignature.into()).to_extension(subject, &[])?,
        Extension {
            // As CAs commonly have it; x509-cert would say true.
            critical: false,
            ..client.to_extension(subject, &[])?
        },
    ];
    if !names.alternatives.is_empty() {
        let alternatives = SubjectAltName(names.alternatives.clone());
        extensions.push(alternatives.to_extension(subject, &[])?);
    }
    Ok(extensions)
}

fn public_key(key: &dyn PrivateKey) -> anyhow::Result<SubjectPublicKeyInfoOwned> {
    let spki = SubjectPublicKeyInfoOwned::from_der(key.public_key().spki());
    spki.with_context(|| format!("the public key of {} is malformed", key.uri()))
}

/// Whether `key` signs requests by the algorithm `oid`.
pub(crate) fn signs_by(key: &dyn PrivateKey, oid: ObjectIdentifier) -> bool {
    let mut algorithms = ALGORITHMS.iter();
    algorithms.any(|(scheme, known)| *known == oid && key.schemes().contains(scheme))
}

/// What X.509 signs with: by the algorithm `wanted` if the key can, else by the first that fits it.
fn algorithm(
    key: &dyn PrivateKey,
    wanted: Option<ObjectIdentifier>,
) -> anyhow::Result<(SignatureScheme, AlgorithmIdentifierOwned)> {
    let mut fits = ALGORITHMS.iter().filter(|(s, _)| key.schemes().contains(s));
    let fits = match fits.clone().find(|(_, oid)| Some(*oid) == wanted) {
        Some(fits) => Some(fits),
        None => fits.next(),
    };
    let (scheme, oid) = fits.with_context(|| {
        let uri = key.uri();
        format!("key {uri} has no scheme that requests and certificates are signed with")
    })?;
    // RFC 4055, section 5: RSA with NULL; RFC 5758, RFC 8410 and RFC 9881: the others without.
    let is_rsa = [
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
    ];
    let parameters = is_rsa.contains(scheme).then(Any::null);
    let algorithm = AlgorithmIdentifierOwned {
        oid: *oid,
        parameters,
    };
    Ok((*scheme, algorithm))
}

fn sign(key: &dyn PrivateKey, scheme: SignatureScheme, der: &[u8]) -> anyhow::Result<BitString> {
    Ok(BitString::from_bytes(&key.sign(scheme, der)?)?)
}

/// 127 random bits: RFC 5280, section 4.1.2.2, wants it positive and never twice.
fn serial_number() -> anyhow::Result<SerialNumber> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the system gives no random numbers"))?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::new(&bytes)?)
}

/// RFC 5280, section 4.1.2.5: UTCTime through the year 2049.
fn time(since_epoch: Duration) -> anyhow::Result<Time> {
    // A fraction of a second has no place in either.
    let since_epoch = Duration::from_secs(since_epoch.as_secs());
    Ok(match UtcTime::from_unix_duration(since_epoch) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_unix_duration(since_epoch)?),
    })
}

const ALGORITHMS: &[(SignatureScheme, ObjectIdentifier)] = &[
    (
        SignatureScheme::ECDSA_SECP256R1_SHA256,
        rfc5912::ECDSA_WITH_SHA_256,
    ),
    (
        SignatureScheme::ECDSA_SECP384R1_SHA384,
        rfc5912::ECDSA_WITH_SHA_384,
    ),
    (
        SignatureScheme::ECDSA_SECP521R1_SHA512,
        rfc5912::ECDSA_WITH_SHA_512,
    ),
    (SignatureScheme::ED25519, rfc8410::ID_ED_25519),
    (SignatureScheme::ML_DSA_44, ml_dsa::ML_DSA_44),
    (SignatureScheme::ML_DSA_65, ml_dsa::ML_DSA_65),
    (SignatureScheme::ML_DSA_87, ml_dsa::ML_DSA_87),
    (
        SignatureScheme::RSA_PKCS1_SHA256,
        rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
    ),
    (
        SignatureScheme::RSA_PKCS1_SHA384,
        rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
    ),
    (
        SignatureScheme::RSA_PKCS1_SHA512,
        rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
    ),
];
