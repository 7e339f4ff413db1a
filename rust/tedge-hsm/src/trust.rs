//! Would a TLS server take this certificate from a client?

use std::sync::Arc;

use anyhow::anyhow;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};

use crate::certificate::{Certificate, Issued};

/// Verifies the first certificate of `chain` as a TLS server does at this moment: issued by one of
/// `roots`, by way of the others in the chain if need be, valid, and for a TLS client.
pub(crate) fn verify(chain: &[Certificate], roots: &RootCertStore) -> anyhow::Result<()> {
    let Some((certificate, intermediates)) = chain.split_first() else {
        return Err(anyhow!("there is no certificate"));
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider).build()?;
    let intermediates: Vec<_> = intermediates.iter().map(|c| c.der().clone()).collect();
    verifier
        .verify_client_cert(certificate.der(), &intermediates, UnixTime::now())
        .map(|_| ())
        .map_err(explain)
}

/// Puts the issuers of `certificate` behind it, as TLS sends them, found among `candidates`. What
/// issued itself is left out: the server has it, or does not trust it.
pub(crate) fn chain(certificate: Certificate, candidates: &[Certificate]) -> Vec<Certificate> {
    let mut chain = vec![certificate];
    while chain.len() <= candidates.len() {
        let issuer = chain.last().and_then(|last| {
            candidates.iter().find(|candidate| {
                last.issued_by(candidate) == Issued::Yes
                    && candidate.subject() != candidate.issuer()
                    && !chain.iter().any(|c| c.der() == candidate.der())
            })
        });
        match issuer {
            Some(issuer) => chain.push(issuer.clone()),
            None => break,
        }
    }
    chain
}

/// rustls speaks of a peer's certificate.
fn explain(error: rustls::Error) -> anyhow::Error {
    use CertificateError as E;
    let rustls::Error::InvalidCertificate(error) = error else {
        return anyhow!("{error}");
    };
    match error {
        E::Expired | E::ExpiredContext { .. } => {
            anyhow!("it, or a certificate that it was issued by, has expired")
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            anyhow!("it is not valid yet; is the clock right?")
        }
        E::UnknownIssuer => anyhow!("it was not issued by the CA, nor by way of its chain"),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            anyhow!("it is not for TLS clients: its extended key usage has no clientAuth")
        }
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            anyhow!("nothing here can verify its signature, or one in its chain")
        }
        E::BadSignature => anyhow!("a signature in the chain is wrong"),
        other => anyhow!("{other}"),
    }
}
