//! Who is trusted, and whether a TLS server that trusts the same would take a certificate from a client.

use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use tedge_p11_client::{TlsFailure, Whose, read_ca_certificates, read_ca_folder, trust_anchors};

use crate::certificate::{Certificate, Issued};
use crate::{names, verification};

/// The CAs in a file or folder: who is trusted.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    cas: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
}

impl Trust {
    /// Fails if there is none, or one in a file is damaged.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Self::anchored(read_ca_certificates(path)?, path)
    }

    /// Those in the files of the folder `path` of which `is_wanted` says so.
    pub(crate) fn read_folder(
        path: &Path,
        is_wanted: impl Fn(&Path, &Metadata) -> bool,
    ) -> anyhow::Result<Self> {
        Self::anchored(read_ca_folder(path, is_wanted)?, path)
    }

    /// These, which were read from `path`; fails if one can't be a CA here.
    pub(crate) fn of(cas: &[Certificate], path: &Path) -> anyhow::Result<Self> {
        Self::anchored(cas.iter().map(|ca| ca.der().clone()).collect(), path)
    }

    fn anchored(cas: Vec<CertificateDer<'static>>, path: &Path) -> anyhow::Result<Self> {
        let roots = trust_anchors(&cas, path)?;
        Ok(Self { cas, roots })
    }

    pub(crate) fn add(&mut self, ca: &Certificate) -> anyhow::Result<()> {
        let added = self.roots.add(ca.der().clone());
        added.map_err(|_| {
            let name = names::subject(ca.subject());
            anyhow!("the certificate of {name} can be no CA here")
        })?;
        self.cas.push(ca.der().clone());
        Ok(())
    }

    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// Verifies the first certificate of `chain` as a TLS server does at this moment: issued by one of
    /// these, by way of the others in the chain if need be, valid, and for a TLS client.
    pub(crate) fn verify(&self, chain: &[Certificate]) -> anyhow::Result<()> {
        let Some((certificate, intermediates)) = chain.split_first() else {
            return Err(anyhow!("there is no certificate"));
        };
        if certificate.version() < 3 {
            return self.verify_old(chain, certificate, intermediates);
        }
        let provider = Arc::new(verification::provider());
        let roots = Arc::new(self.roots.clone());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
        let intermediates: Vec<_> = intermediates.iter().map(|c| c.der().clone()).collect();
        verifier
            .verify_client_cert(certificate.der(), &intermediates, UnixTime::now())
            .map(|_| ())
            .map_err(|error| explain(&error, chain))
    }

    /// The same for a certificate of version 1 or 2, as servers on OpenSSL take it and rustls does not. It
    /// has no extensions to be looked at.
    fn verify_old(
        &self,
        chain: &[Certificate],
        certificate: &Certificate,
        intermediates: &[Certificate],
    ) -> anyhow::Result<()> {
        let now = Duration::from_secs(UnixTime::now().as_secs());
        let cas = self.cas.iter().map(|ca| Certificate::from_der(ca.to_vec()));
        let cas: Vec<_> = cas.flatten().collect();
        let mut last = certificate;
        for below in 0..=intermediates.len() {
            if now < last.not_before() {
                return Err(explain(&CertificateError::NotValidYet.into(), chain));
            }
            if last.not_after() < now {
                return Err(explain(&CertificateError::Expired.into(), chain));
            }
            match cas.iter().map(|ca| last.issued_by(ca)).max() {
                Some(Issued::Yes) => return Ok(()),
                Some(Issued::Unverified) => {
                    return Err(anyhow!(
                        "nothing here can verify its signature, or one in its chain"
                    ));
                }
                _ => {}
            }
            // Of those between, webpki has the first one's number as 0, too.
            let issuer = intermediates.iter().find(|candidate| {
                last.issued_by(candidate) == Issued::Yes && candidate.may_issue(below)
            });
            match issuer {
                Some(issuer) => last = issuer,
                None => break,
            }
        }
        Err(explain(&CertificateError::UnknownIssuer.into(), chain))
    }
}

/// Puts the issuers of `certificate` behind it, as TLS sends them, found among `candidates`. What
/// issued itself is left out: the server has it, or does not trust it.
///
/// Who answers chooses the candidates: the chain has a most, and so have the signatures that are verified for it.
pub(crate) fn chain(certificate: Certificate, candidates: &[Certificate]) -> Vec<Certificate> {
    let named = |last: &Certificate, candidate: &Certificate| {
        last.issuer() == candidate.subject() && candidate.subject() != candidate.issuer()
    };
    let signed =
        |last: &Certificate, candidate: &Certificate| last.issued_by(candidate) == Issued::Yes;
    let same = |one: &Certificate, other: &Certificate| one.der() == other.der();
    linked(certificate, candidates, named, signed, same)
}

/// [`chain`], of what only the functions know. `signed` is asked last, since it takes long.
fn linked<T: Clone>(
    first: T,
    candidates: &[T],
    named: impl Fn(&T, &T) -> bool,
    signed: impl Fn(&T, &T) -> bool,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<T> {
    let mut chain = vec![first];
    let mut left = MAX_VERIFIED;
    while chain.len() < MAX_CHAIN {
        let last = &chain[chain.len() - 1];
        let issuer = candidates.iter().find(|candidate| {
            let fits = named(last, candidate) && !chain.iter().any(|c| same(c, candidate));
            if !fits || left == 0 {
                return false;
            }
            left -= 1;
            signed(last, candidate)
        });
        match issuer {
            Some(issuer) => chain.push(issuer.clone()),
            None => break,
        }
    }
    chain
}

/// What is wrong with the first certificate of `chain`.
fn explain(error: &rustls::Error, chain: &[Certificate]) -> anyhow::Error {
    let chain: Vec<_> = chain.iter().map(|c| c.der().clone()).collect();
    match error {
        rustls::Error::InvalidCertificate(error) => {
            TlsFailure::of_certificate(error, &chain, Whose::Client)
        }
        error => TlsFailure::of(error, &[]),
    }
    .into()
}

/// Most certificates in a chain; PKIs have three or four levels.
const MAX_CHAIN: usize = 10;
/// Most signatures that are verified for one.
const MAX_VERIFIED: usize = 100;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The links of a chain of numbers, each of which the next one issued, and how many signatures that took.
    fn links(candidates: &[u32], named: fn(&u32, &u32) -> bool) -> (Vec<u32>, usize) {
        let verified = Cell::new(0);
        let signed = |last: &u32, candidate: &u32| {
            verified.set(verified.get() + 1);
            last + 1 == *candidate
        };
        let chain = linked(0, candidates, named, signed, |one, other| one == other);
        (chain, verified.get())
    }

    #[test]
    fn a_chain_is_found_in_any_order_and_once() {
        let by_name: fn(&u32, &u32) -> bool = |last, candidate| last + 1 == *candidate;
        assert_eq!(links(&[3, 0, 2, 1, 2, 1], by_name), (vec![0, 1, 2, 3], 3));
        assert_eq!(links(&[3, 0, 2], by_name), (vec![0], 0));
    }

    /// 700 P-384 certificates of one name took minutes.
    #[test]
    fn candidates_without_end_are_given_up() {
        let all: Vec<u32> = (1..=700).rev().collect();
        let (chain, verified) = links(&all, |_, _| true);
        assert_eq!((chain, verified), (vec![0], MAX_VERIFIED));
        let all: Vec<u32> = (1..=700).collect();
        let (chain, verified) = links(&all, |_, _| true);
        assert_eq!((chain.len(), verified), (MAX_CHAIN, MAX_CHAIN - 1));
    }
}
