//! Servers' certificates are verified as rustls does it, and those that were refused are remembered.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::tls_failure::TlsFailure;

/// rustls's own verifier of servers. Its errors do not tell which certificate they are about: this one
/// remembers what was refused, and decides nothing.
#[derive(Debug)]
pub struct ServerVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    refused: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerVerifier {
    /// Of servers with certificates from one of `roots`; fails if there is none.
    pub fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsFailure> {
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        Ok(Self {
            webpki: webpki.map_err(|_| TlsFailure::without_roots())?,
            refused: Mutex::default(),
        })
    }

    /// What a failed handshake, read or write means.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> TlsFailure {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        TlsFailure::of_io(error, &refused)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .webpki
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.clear();
        if verified.is_err() {
            let shown = std::iter::once(certificate).chain(intermediates);
            refused.extend(shown.cloned().map(CertificateDer::into_owned));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.webpki.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.webpki.root_hint_subjects()
    }
}
