//! The key in a rustls client.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::SignatureAlgorithm;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use tedge_file::MAX_CERTIFICATES;
use tedge_p11_protocol::SignatureScheme;

use crate::certificates::{CertificatesError, certificate_public_key, parse_certificates};
use crate::error::Error;
use crate::key::PrivateKey;

/// A [`PrivateKey`] as rustls wants it. What rustls negotiates is what is signed with.
#[derive(Clone, Debug)]
pub struct TlsKey(Arc<dyn PrivateKey>);

/// Presents the certificate chain in a file, with a [`PrivateKey`]. The file is read again for every
/// connection, so that a renewed certificate is picked up.
#[derive(Debug)]
pub struct ClientCertResolver {
    key: Arc<dyn PrivateKey>,
    chain: PathBuf,
    /// What the file had in it last time, and what came of it.
    last: Mutex<Option<(Vec<u8>, Arc<CertifiedKey>)>>,
    last_error: Mutex<Option<String>>,
}

impl TlsKey {
    /// Wraps `key`.
    #[must_use]
    pub fn new(key: Arc<dyn PrivateKey>) -> Self {
        Self(key)
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[rustls::SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self
            .0
            .schemes()
            .iter()
            .find(|scheme| offered.contains(&rustls_scheme(**scheme)))?;
        Some(Box::new(TlsSigner {
            key: self.0.clone(),
            scheme: *scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.0.public_key().spki()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        let algorithm = self.0.schemes().iter().find_map(|s| s.algorithm());
        SignatureAlgorithm::from(algorithm.map_or(0, |algorithm| algorithm.0))
    }
}

impl ClientCertResolver {
    /// Takes the certificate chain in the file `chain` ([`parse_certificates`]). That it is there, and that its first
    /// certificate belongs to `key`, is checked now, and again for every connection.
    pub fn new(key: Arc<dyn PrivateKey>, chain: impl Into<PathBuf>) -> Result<Self, Error> {
        let resolver = Self {
            key,
            chain: chain.into(),
            last: Mutex::default(),
            last_error: Mutex::default(),
        };
        resolver.certified_key()?;
        Ok(resolver)
    }

    /// Why the last connection had to go without a certificate, if it had to.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn certified_key(&self) -> Result<Arc<CertifiedKey>, Error> {
        let content = tedge_file::read(&self.chain, MAX_CERTIFICATES)
            .map_err(|error| self.unreadable(error.into()))?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, certified)) = last.as_ref().filter(|(before, _)| *before == content) {
            return Ok(certified.clone());
        }
        let certified = Arc::new(self.parse(&content)?);
        *last = Some((content, certified.clone()));
        Ok(certified)
    }

    fn parse(&self, content: &[u8]) -> Result<CertifiedKey, Error> {
        let chain = parse_certificates(content).map_err(|error| self.unreadable(error))?;
        // Not by rustls's own comparison: it reads the certificate as a verifier does, to whom version 1 of
        // X.509 is none. The server decides what it takes.
        if certificate_public_key(&chain[0]) != Some(self.key.public_key().spki()) {
            return Err(Error::Certificate(format!(
                "the certificate in {} does not belong to the key {}: their public keys differ",
                self.chain.display(),
                self.key.uri()
            )));
        }
        Ok(CertifiedKey::new(chain, Arc::new(TlsKey(self.key.clone()))))
    }

    fn unreadable(&self, error: CertificatesError) -> Error {
        Error::Certificates {
            path: self.chain.clone(),
            error,
        }
    }
}

/// Why a server is shown no certificate of `key`.
fn no_common_scheme(key: &dyn PrivateKey) -> String {
    let names: Vec<_> = key.schemes().iter().map(ToString::to_string).collect();
    let hint = if key.schemes().iter().all(|scheme| scheme.is_post_quantum()) {
        ": for ML-DSA it needs TLS 1.3 and, if it uses OpenSSL, version 3.5 or newer"
    } else {
        ""
    };
    format!(
        "the server takes none of the signature schemes of key {} ({}){hint}",
        key.uri(),
        names.join(", ")
    )
}

impl ResolvesClientCert for ClientCertResolver {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        offered: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let certified = self.certified_key().and_then(|certified| {
            let known = self.key.schemes();
            if known.iter().any(|s| offered.contains(&rustls_scheme(*s))) {
                return Ok(certified);
            }
            Err(Error::Certificate(no_common_scheme(&*self.key)))
        });
        let error = certified.as_ref().err().map(ToString::to_string);
        if let Some(error) = &error {
            log::warn!("connecting without a certificate: {error}");
        }
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = error;
        certified.ok()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct TlsSigner {
    key: Arc<dyn PrivateKey>,
    scheme: SignatureScheme,
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key
            .sign(self.scheme, message)
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> rustls::SignatureScheme {
        rustls_scheme(self.scheme)
    }
}

fn rustls_scheme(scheme: SignatureScheme) -> rustls::SignatureScheme {
    rustls::SignatureScheme::from(scheme.0)
}
