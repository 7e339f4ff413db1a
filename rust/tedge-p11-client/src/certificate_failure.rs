//! What is wrong with which certificate, and how it is made right.

use std::time::{Duration, SystemTime};

use der::asn1::ObjectIdentifier;
use der::{Decode as _, SliceReader};
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::der::oid::db::DB;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::words::{printable, words};

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A server's, which this client verifies.
    Server,
    /// The client's own, as a server would verify it.
    Client,
}

/// What is wrong, and what helps. `chain` is what was shown: the certificate itself first.
pub(crate) fn explain(
    error: &CertificateError,
    chain: &[CertificateDer<'_>],
    whose: Whose,
) -> (String, Option<String>) {
    let chain: Vec<Certificate> = chain
        .iter()
        .filter_map(|der| Certificate::from_der(der).ok())
        .collect();
    let context = Context {
        chain: &chain,
        whose,
    };
    let (what, cure) = context.explain(error);
    (what, cure.filter(|cure| !cure.is_empty()))
}

type Certificate = CertificateInner<Raw>;

struct Context<'a> {
    chain: &'a [Certificate],
    whose: Whose,
}

impl Context<'_> {
    fn explain(&self, error: &CertificateError) -> (String, Option<String>) {
        use CertificateError as E;
        let own = self.own();
        let said = |what: String, cure: &str| (what, Some(cure.to_owned()));
        match error {
            E::Expired | E::ExpiredContext { .. } => {
                let end = |c: &Certificate| c.tbs_certificate.validity.not_after;
                let old = self
                    .chain
                    .iter()
                    .find(|c| end(c).to_unix_duration() < now());
                let what = match old {
                    Some(old) => format!("{} expired on {}", self.name(Some(old)), end(old)),
                    None => format!("{own}, or one in its chain, has expired"),
                };
                said(what, self.clock())
            }
            E::NotValidYet | E::NotValidYetContext { .. } => {
                let begin = |c: &Certificate| c.tbs_certificate.validity.not_before;
                let young = self
                    .chain
                    .iter()
                    .find(|c| begin(c).to_unix_duration() > now());
                let what = match young {
                    Some(c) => format!("{} is not valid before {}", self.name(Some(c)), begin(c)),
                    None => format!("{own}, or one in its chain, is not valid yet"),
                };
                said(what, CLOCK)
            }
            E::UnknownIssuer => self.unknown_issuer(),
            E::BadSignature => said(
                format!(
                    "{own}, or one in its chain, is not signed by the key of the CA that has its issuer's name"
                ),
                match self.whose {
                    Whose::Server => {
                        "give the CA that issued it: there may be two of the same name"
                    }
                    Whose::Client => {
                        "have it issued again, or verify it with the CA that issued it"
                    }
                },
            ),
            E::NotValidForName => self.other_name("the name that was asked for"),
            E::NotValidForNameContext { expected, .. } => self.other_name(&expected.to_str()),
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => self.other_purpose(),
            #[allow(deprecated)]
            E::UnsupportedSignatureAlgorithm => self.unverifiable(None),
            E::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: id,
                ..
            }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: id,
                ..
            } => self.unverifiable(algorithm(id)),
            E::Revoked => said(format!("{own} is revoked"), "have a new one issued"),
            E::BadEncoding => said(format!("{own}, or one in its chain, is malformed"), ANEW),
            E::UnhandledCriticalExtension => said(
                format!(
                    "{own}, or one in its chain, has a critical extension that is not known here"
                ),
                "have it issued without",
            ),
            E::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                Some(error) => self.explain_webpki(error),
                None => (printable(&other.0.to_string()), None),
            },
            other => said(format!("{own} is refused ({})", words(other)), ANEW),
        }
    }

    /// What rustls has no variant for.
    fn explain_webpki(&self, error: &webpki::Error) -> (String, Option<String>) {
        use webpki::Error as W;
        let own = self.own();
        let (what, cure) = match error {
            W::CaUsedAsEndEntity => (
                format!("{own} is a CA's own (CA:TRUE), and none that a CA issued to it"),
                match self.whose {
                    Whose::Server => {
                        "have the CA issue one for the server with CA:FALSE (openssl x509 -req -extfile), or make \
                         the server's own anew with basicConstraints=critical,CA:FALSE"
                    }
                    Whose::Client => {
                        "have the CA issue one for the device: tedge-hsm csr makes the request"
                    }
                },
            ),
            W::UnsupportedCertVersion => {
                let old = self
                    .chain
                    .iter()
                    .find(|c| c.tbs_certificate.version != Version::V3);
                (
                    format!(
                        "{} is X.509 version 1, which can't say whom it is for",
                        self.name(old)
                    ),
                    "have one of version 3 issued: openssl x509 -req with -extfile and subjectAltName",
                )
            }
            W::EndEntityUsedAsCa => (
                format!(
                    "{own} was issued by a certificate that is not a CA's: a certificate in its chain lacks CA:TRUE"
                ),
                "send the CA's own certificate behind it, or have it issued by a CA",
            ),
            W::PathLenConstraintViolated => (
                format!("{own} has more CAs above it than one of them allows (pathlen)"),
                "have it issued by a CA that may",
            ),
            W::NameConstraintViolation => (
                format!("{own} has a name that a CA above it may not give (name constraints)"),
                "have it issued by a CA that may",
            ),
            W::RequiredEkuNotFoundContext(_) | W::EmptyEkuExtension => {
                return self.other_purpose();
            }
            W::UnsupportedCriticalExtension => {
                return self.explain(&CertificateError::UnhandledCriticalExtension);
            }
            W::InvalidCertValidity => (
                format!("{own}, or one in its chain, ends to be valid before it begins"),
                ANEW,
            ),
            W::SignatureAlgorithmMismatch => (
                format!("{own}, or one in its chain, names two signature algorithms"),
                ANEW,
            ),
            other => (
                format!("{own}, or one in its chain, is no good ({})", words(other)),
                ANEW,
            ),
        };
        (what, Some(cure.to_owned()))
    }

    fn unknown_issuer(&self) -> (String, Option<String>) {
        if self.whose == Whose::Client {
            let what = "it was not issued by the CA, nor by way of its chain";
            return (what.to_owned(), None);
        }
        let own = self.own();
        let Some(first) = self.chain.first() else {
            let what = format!("{own} was issued by none of the CAs that are trusted");
            return (what, Some(OTHER_CA.to_owned()));
        };
        let tbs = &first.tbs_certificate;
        if tbs.issuer == tbs.subject {
            let what = format!("{own} issued itself, and is not among the CAs that are trusted");
            let cure = "give it as the CA if it is the right one, or the server's own CA";
            return (what, Some(cure.to_owned()));
        }
        // The end of the way that the server shows.
        let mut last = first;
        for _ in self.chain {
            let issuer = &last.tbs_certificate.issuer;
            let next = self
                .chain
                .iter()
                .find(|c| c.tbs_certificate.subject == *issuer);
            last = next.unwrap_or(last);
        }
        let issuer = printable(&last.tbs_certificate.issuer.to_string());
        let what =
            format!("{own} leads to the CA {issuer}, which is not among those that are trusted");
        let cure = if self.chain.len() == 1 {
            "give that CA; or, if it is one between, have the server send its certificate, too"
        } else {
            OTHER_CA
        };
        (what, Some(cure.to_owned()))
    }

    fn other_name(&self, wanted: &str) -> (String, Option<String>) {
        let own = self.own();
        let names = self.chain.first().map(alternative_names);
        let cure = format!(
            "name the server as its certificate does, or have one issued with subjectAltName {wanted}"
        );
        let what = match names {
            Some(names) if names.is_empty() => {
                let cure = format!(
                    "have one issued with subjectAltName {wanted}: the common name does not count"
                );
                return (
                    format!("{own} has no subjectAltName, so it is not for {wanted}"),
                    Some(cure),
                );
            }
            Some(names) => format!("{own} is not for {wanted}, but for {}", names.join(", ")),
            None => format!("{own} is not for {wanted}"),
        };
        (what, Some(cure))
    }

    fn other_purpose(&self) -> (String, Option<String>) {
        let own = self.own();
        let (whom, purpose) = match self.whose {
            Whose::Server => ("TLS servers", "serverAuth"),
            Whose::Client => ("TLS clients", "clientAuth"),
        };
        let what = format!("{own} is not for {whom}: its extended key usage has no {purpose}");
        (
            what,
            Some(format!("have one issued with extendedKeyUsage={purpose}")),
        )
    }

    fn unverifiable(&self, algorithm: Option<String>) -> (String, Option<String>) {
        let own = self.own();
        let with = algorithm
            .map(|name| format!(" ({name})"))
            .unwrap_or_default();
        let what =
            format!("nothing here can verify the signature{with} of {own}, or of one in its chain");
        (
            what,
            Some(
                "have it issued with ECDSA on P-256 or P-384, RSA or Ed25519, and SHA-256 or more"
                    .to_owned(),
            ),
        )
    }

    fn clock(&self) -> &'static str {
        match self.whose {
            Whose::Server => {
                "set the clock (timedatectl); if it is right, the server needs a new certificate"
            }
            Whose::Client => {
                "have a new one issued; if it should still be valid, set the clock (timedatectl)"
            }
        }
    }

    fn own(&self) -> String {
        self.name(self.chain.first())
    }

    fn name(&self, certificate: Option<&Certificate>) -> String {
        let is_own = certificate.is_none() || certificate == self.chain.first();
        let subject = certificate.map(|c| printable(&c.tbs_certificate.subject.to_string()));
        let subject = subject.filter(|subject| !subject.is_empty());
        match (self.whose, is_own, subject) {
            (Whose::Client, true, _) => "it".to_owned(),
            (Whose::Server, true, Some(subject)) => format!("the server's certificate ({subject})"),
            (Whose::Server, true, None) => "the server's certificate".to_owned(),
            (_, false, Some(subject)) => format!("the certificate of {subject} in its chain"),
            (_, false, None) => "a certificate in its chain".to_owned(),
        }
    }
}

fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>();
    let names = names.ok().flatten().map(|(_, names)| names.0);
    let names = names.unwrap_or_default();
    let shown = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(printable(name.as_str())),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from))
                .ok()
                .map(|address| address.to_string())
        }
        _ => None,
    });
    shown.take(MAX_NAMES).collect()
}

/// The name of the algorithm of an AlgorithmIdentifier without its header, or its numbers.
fn algorithm(id: &[u8]) -> Option<String> {
    let oid = ObjectIdentifier::decode(&mut SliceReader::new(id).ok()?).ok()?;
    Some(
        DB.by_oid(&oid)
            .map_or_else(|| oid.to_string(), str::to_owned),
    )
}

/// Since the Unix epoch.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

const CLOCK: &str =
    "set the clock (timedatectl); if it is right, have one issued that is valid now";
const ANEW: &str = "have it issued again";
const OTHER_CA: &str = "give the CA that issued the server's certificate";
/// Names of a server that are told.
const MAX_NAMES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_its_name() {
        let sha1 = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5, 5, 0];
        assert_eq!(algorithm(&sha1).as_deref(), Some("sha1WithRSAEncryption"));
        assert_eq!(algorithm(&[6, 3, 0x2a, 3, 4]).as_deref(), Some("1.2.3.4"));
        assert_eq!(algorithm(&[]), None);
    }
}
