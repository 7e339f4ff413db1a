//! Certificates in the files that people have: PEM with any of its labels, or DER.

use base64ct::{Base64, Encoding as _};
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber};
use rustls::pki_types::CertificateDer;
use x509_cert::name::Name;
use x509_cert::time::Validity;

use crate::words::{MAX_SHOWN, printable};

/// Why a file has not the certificates that were expected in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificatesError {
    /// The file can't be read.
    #[error(transparent)]
    Unreadable(#[from] tedge_file::FileError),
    /// There is nothing in the file.
    #[error("it is empty")]
    Empty,
    /// There is something else in the file, or nothing that is known.
    #[error("there is no certificate in it{0}")]
    None(Found),
    /// A certificate begins that is none.
    #[error("certificate {number} in it is damaged: {why}")]
    Damaged {
        /// Its place among the certificates of the file, from 1 on.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// What was found in place of a certificate, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(pub(crate) String);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_str() {
            "" => Ok(()),
            what => write!(f, ", but {what}"),
        }
    }
}

/// The certificates in a file's `content`; there is one at least. It may be DER, one behind the other, or
/// PEM (RFC 7468) of the labels `CERTIFICATE`, `X509 CERTIFICATE` and OpenSSL's `TRUSTED CERTIFICATE`, whose
/// further data is left out; with text, other things and byte order marks between them, lines of any length
/// and end. One that is damaged is an error, as it is to OpenSSL: to leave it out would have the rest fail
/// in other ways later. No more is asked of a certificate than that its parts are there.
pub fn parse_certificates(
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(CertificatesError::Empty);
    }
    let mut certificates = Vec::new();
    if content[0] == SEQUENCE {
        let mut rest = content;
        while !rest.is_empty() {
            let number = certificates.len() + 1;
            let (certificate, behind) = first_element(rest)
                .filter(|(element, _)| Parts::of(element).is_ok())
                .ok_or_else(|| match number {
                    1 => CertificatesError::None(Found::in_der(content)),
                    _ => CertificatesError::Damaged {
                        number,
                        why: "it is no DER of a certificate".to_owned(),
                    },
                })?;
            certificates.push(CertificateDer::from(certificate.to_vec()));
            rest = behind;
        }
        return Ok(certificates);
    }
    let mut other = None;
    for section in Sections(content) {
        if !LABELS.contains(&section.label.as_str()) {
            other = other.or(Some(section.label));
            continue;
        }
        let number = certificates.len() + 1;
        certificates.push(
            section
                .certificate()
                .map_err(|why| CertificatesError::Damaged { number, why })?,
        );
    }
    if certificates.is_empty() {
        return Err(CertificatesError::None(match other {
            Some(label) => Found::labelled(&label),
            None => Found::in_text(content),
        }));
    }
    Ok(certificates)
}

/// DER SubjectPublicKeyInfo of a certificate, of any version of X.509 and whatever else is in it.
#[must_use]
pub fn certificate_public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    Parts::of(certificate).ok().map(|parts| parts.public_key)
}

/// When a certificate ends, in seconds of the Unix epoch.
#[must_use]
pub fn certificate_end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let validity = Parts::of(certificate).ok()?.validity;
    let validity = Validity::from_der(validity).ok()?;
    Some(validity.not_after.to_unix_duration().as_secs())
}

/// ` (SUBJECT)`, as RFC 4514 writes it and a terminal may show it; nothing if it has none.
pub(crate) fn named(certificate: &CertificateDer<'_>) -> String {
    let subject = Parts::of(certificate).and_then(|parts| Name::from_der(parts.subject));
    match subject {
        Ok(subject) if !subject.is_empty() => format!(" ({})", printable(&subject.to_string())),
        _ => String::new(),
    }
}

/// The parts of a certificate (RFC 5280, section 4.1) that are looked at here.
struct Parts<'a> {
    validity: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(certificate: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(certificate)?;
        let parts = reader.sequence(|outer| {
            let parts = outer.sequence(|signed| {
                if signed.peek_tag()? == VERSION {
                    signed.tlv_bytes()?;
                }
                element(signed, Tag::Integer)?; // serialNumber
                element(signed, Tag::Sequence)?; // signature
                element(signed, Tag::Sequence)?; // issuer
                let validity = element(signed, Tag::Sequence)?;
                let subject = element(signed, Tag::Sequence)?;
                let public_key = element(signed, Tag::Sequence)?;
                while !signed.is_finished() {
                    signed.tlv_bytes()?;
                }
                Ok(Self {
                    validity,
                    subject,
                    public_key,
                })
            })?;
            element(outer, Tag::Sequence)?; // signatureAlgorithm
            element(outer, Tag::BitString)?; // signatureValue
            Ok(parts)
        })?;
        reader.finish(parts)
    }
}

/// The next element, with its header.
fn element<'a>(reader: &mut impl der::Reader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    reader.peek_tag()?.assert_eq(tag)?;
    reader.tlv_bytes()
}

/// The first element of DER, and what is behind it.
fn first_element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(der).ok()?;
    let element = reader.tlv_bytes().ok()?;
    Some((element, der.get(element.len()..)?))
}

/// The sections of PEM: each begins a line (RFC 7468, section 2) or follows another. What others chose is in the middle of
/// lines that root's programs write, such as the error in a record, and must not become a CA there.
struct Sections<'a>(&'a [u8]);

struct Section<'a> {
    label: String,
    /// None if its end is missing.
    body: Option<&'a [u8]>,
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        loop {
            let (before, behind) = split(self.0, b"-----BEGIN ")?;
            let line = before.rsplit(|byte| b"\r\n".contains(byte)).next();
            let begins_line = line.is_none_or(is_blank);
            let (label, behind) = split(behind, b"-----")?;
            let is_label =
                label.len() <= MAX_SHOWN && label.iter().all(|b| (b' '..=b'~').contains(b));
            if !(begins_line && is_label) {
                // It is a line of text, and what is behind it does not begin a line either.
                self.0 = &self.0[before.len() + 1..];
                continue;
            }
            self.0 = behind;
            let label = String::from_utf8_lossy(label).into_owned();
            let end = format!("END {label}-----");
            let body = match split(behind, b"-----") {
                Some((body, behind)) if behind.starts_with(end.as_bytes()) => {
                    self.0 = &behind[end.len()..];
                    Some(body)
                }
                _ => None,
            };
            return Some(Section { label, body });
        }
    }
}

/// Whether there is nothing in a line but what programs put there unasked.
fn is_blank(line: &[u8]) -> bool {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    line.iter().all(u8::is_ascii_whitespace)
}

impl Section<'_> {
    fn certificate(&self) -> Result<CertificateDer<'static>, String> {
        let body = self
            .body
            .ok_or_else(|| format!("the line -----END {}----- is missing", self.label))?;
        let mut base64 = body.to_vec();
        base64.retain(|byte| !byte.is_ascii_whitespace());
        let is_other = |byte: &&u8| !byte.is_ascii_alphanumeric() && !b"+/=".contains(byte);
        if let Some(other) = base64.iter().find(is_other) {
            return Err(format!(
                "it is no base64: there is \"{}\" in it",
                other.escape_ascii()
            ));
        }
        let der = std::str::from_utf8(&base64)
            .ok()
            .and_then(|base64| Base64::decode_vec(base64).ok())
            .ok_or("its base64 is cut off")?;
        let (certificate, behind) = first_element(&der).ok_or("it is cut off, or no DER")?;
        Parts::of(certificate).map_err(|_| "it is no DER of a certificate")?;
        // X509_CERT_AUX of OpenSSL's TRUSTED CERTIFICATE: what the certificate is trusted for.
        let is_auxiliary =
            first_element(behind).is_some_and(|(_, rest)| behind[0] == SEQUENCE && rest.is_empty());
        if !behind.is_empty() && !is_auxiliary {
            return Err("there is something behind it".to_owned());
        }
        Ok(CertificateDer::from(certificate.to_vec()))
    }
}

impl Found {
    fn labelled(label: &str) -> Self {
        let what = match label {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => REQUEST,
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => PKCS7,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => "a public key",
            label if label.ends_with("PRIVATE KEY") => "a private key",
            label => return Self(format!("PEM of {label:?}")),
        };
        Self(what.to_owned())
    }

    fn in_der(content: &[u8]) -> Self {
        let is_request = |content: &[u8]| x509_cert::request::CertReq::from_der(content).is_ok();
        let what = match first_element(content) {
            None => "DER that is cut off",
            Some((element, _)) => match begins_with(element) {
                Some(Begins::With(SIGNED_DATA)) => PKCS7,
                Some(Begins::Version(3)) => PKCS12,
                Some(Begins::Version(_)) => "DER of a private key, perhaps",
                _ if is_request(element) => REQUEST,
                _ => "other DER",
            },
        };
        Self(what.to_owned())
    }

    fn in_text(content: &[u8]) -> Self {
        let is_base64 = |byte: &u8| {
            byte.is_ascii_alphanumeric() || b"+/=".contains(byte) || byte.is_ascii_whitespace()
        };
        let what = match content {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16 text: save it as UTF-8 or ASCII",
            content if content.trim_ascii().starts_with(b"MI") && content.iter().all(is_base64) => {
                "base64 without the lines -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----"
            }
            content if content.trim_ascii().starts_with(b"<") => "HTML or XML",
            content if content.is_ascii() => "text without a line -----BEGIN CERTIFICATE-----",
            _ => "something that is neither PEM nor DER",
        };
        Self(what.to_owned())
    }
}

/// What the first element in a SEQUENCE is.
enum Begins {
    With(ObjectIdentifier),
    Version(u8),
}

fn begins_with(der: &[u8]) -> Option<Begins> {
    let mut reader = SliceReader::new(der).ok()?;
    der::Header::decode(&mut reader).ok()?;
    match reader.peek_tag().ok()? {
        Tag::ObjectIdentifier => Some(Begins::With(ObjectIdentifier::decode(&mut reader).ok()?)),
        Tag::Integer => Some(Begins::Version(u8::decode(&mut reader).ok()?)),
        _ => None,
    }
}

/// What is before and behind the first `marker`.
fn split<'a>(text: &'a [u8], marker: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(marker.len())
        .position(|window| window == marker)?;
    Some((&text[..at], &text[at + marker.len()..]))
}

const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
const SEQUENCE: u8 = 0x30;
/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// `[0] EXPLICIT Version`; version 1 leaves it out.
const VERSION: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber::N0,
};
/// id-signedData (RFC 5652, section 5.1).
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const PKCS7: &str = "PKCS#7: openssl pkcs7 -print_certs takes the certificates out";
const PKCS12: &str = "PKCS#12: openssl pkcs12 -nokeys takes the certificates out";
const REQUEST: &str = "a certificate request: what the CA makes of it is wanted";

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a certificate, and nothing in them.
    const LEAST: &[u8] = &[
        0x30, 20, 0x30, 13, 2, 1, 1, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 3, 1, 0,
    ];

    fn pem(label: &str, der: &[u8]) -> String {
        let base64 = Base64::encode_string(der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }

    fn refused(content: &[u8]) -> String {
        parse_certificates(content).unwrap_err().to_string()
    }

    #[test]
    fn every_form_of_a_certificate_is_taken() {
        let plain = pem("CERTIFICATE", LEAST);
        let trusted = [LEAST, &[0x30, 2, 0x30, 0]].concat();
        for content in [
            plain.clone(),
            format!("\u{feff}{plain}"),
            plain.replace('\n', "\r\n"),
            plain.replace('\n', "\r"),
            plain.replace('\n', ""),
            plain.replace('\n', "\n    "),
            plain.trim_end().to_owned(),
            format!("subject: CN=a\n-----\n{plain}text"),
            format!("{}{plain}", pem("PRIVATE KEY", b"key")),
            plain
                .replace('\n', "\n    ")
                .replace("-----BEGIN", "\t-----BEGIN"),
            format!("{}{plain}", pem("OTHER", b"a").trim_end()),
            format!("told by -----BEGIN CERTIFICATE-----\n{plain}"),
            pem("X509 CERTIFICATE", LEAST),
            pem("TRUSTED CERTIFICATE", &trusted),
        ] {
            let certificates = parse_certificates(content.as_bytes()).expect(&content);
            assert_eq!(certificates, [CertificateDer::from(LEAST)], "{content}");
        }
        for number in [1, 2, 3] {
            let one = format!("\u{feff}{plain}");
            for content in [LEAST.repeat(number), one.repeat(number).into_bytes()] {
                assert_eq!(parse_certificates(&content).unwrap().len(), number);
            }
        }
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        for (content, named) in [
            (&b""[..], "it is empty"),
            (b" \n", "it is empty"),
            (
                pem("CERTIFICATE REQUEST", b"a").as_bytes(),
                "but a certificate request",
            ),
            (pem("EC PRIVATE KEY", b"a").as_bytes(), "but a private key"),
            (pem("PKCS7", b"a").as_bytes(), "openssl pkcs7"),
            (pem("OTHER", b"a").as_bytes(), "but PEM of \"OTHER\""),
            (
                b"\xff\xfe-\0-\0-\0-\0-\0",
                "UTF-16 text: save it as UTF-8 or ASCII",
            ),
            (b"MIIB\nAAAA\n", "base64 without the lines"),
            (
                format!("a-----BEGIN OTHER-----{}", pem("CERTIFICATE", LEAST)).as_bytes(),
                "text without a line -----BEGIN CERTIFICATE-----",
            ),
            (b"<html>", "HTML"),
            (
                b"device-1",
                "text without a line -----BEGIN CERTIFICATE-----",
            ),
            (
                format!(
                    "{{\"error\": \"{}\"}}",
                    pem("CERTIFICATE", LEAST).escape_debug()
                )
                .as_bytes(),
                "text without a line -----BEGIN CERTIFICATE-----",
            ),
            (b"\x7fELF\xff", "neither PEM nor DER"),
            (&LEAST[..9], "DER that is cut off"),
            (&[0x30, 3, 2, 1, 3], "openssl pkcs12"),
            (&[0x30, 0], "other DER"),
        ] {
            let error = refused(content);
            assert!(error.contains(named), "{error} / {named}");
        }
    }

    #[test]
    fn a_damaged_one_is_told_by_its_number() {
        let good = pem("CERTIFICATE", LEAST);
        for (bad, why) in [
            (
                good.replace("MB", "M*"),
                "it is no base64: there is \"*\" in it",
            ),
            (good.replace("MB", "M"), "its base64 is cut off"),
            (pem("CERTIFICATE", &LEAST[..9]), "it is cut off, or no DER"),
            (
                pem("CERTIFICATE", &[0x30, 0]),
                "it is no DER of a certificate",
            ),
            (
                pem("CERTIFICATE", &[LEAST, &[0]].concat()),
                "there is something behind it",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMBQ".to_owned(),
                "the line -----END CERTIFICATE----- is missing",
            ),
        ] {
            let error = refused(format!("{good}{bad}\n{good}").as_bytes());
            assert_eq!(error, format!("certificate 2 in it is damaged: {why}"));
        }
    }

    #[test]
    fn the_public_key_is_found_whatever_the_version() {
        let certificate = CertificateDer::from(LEAST);
        assert_eq!(certificate_public_key(&certificate), Some(&[0x30, 0][..]));
    }
}
