//! TLS with the key in the HSM.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use tedge_p11_client::{
    Client, ClientCertResolver, ServerVerifier, SignatureScheme, SocketKey, TlsFailure, WatchedKey,
    read_ca_certificates, trust_anchors,
};
use tedge_tls::PostQuantum;

use crate::error::ConnectError;
use crate::profile::Tls;

/// What one handshake needs, made anew for each: the key may be another one, the certificate renewed.
pub(crate) struct Identity {
    key: Arc<WatchedKey>,
    resolver: Arc<ClientCertResolver>,
    pub(crate) verifier: Arc<ServerVerifier>,
    pub(crate) config: Arc<ClientConfig>,
    /// For one more attempt if there is no answer: its ClientHello fits into one packet.
    pub(crate) second: Option<Arc<ClientConfig>>,
}

impl Identity {
    /// Asks the signer for the key, and reads the certificates.
    pub(crate) fn load(tls: &Tls) -> Result<Self, ConnectError> {
        let certificate =
            |error: tedge_p11_client::Error| ConnectError::Certificate(error.to_string());
        let roots = read_ca_certificates(&tls.ca)
            .and_then(|certificates| trust_anchors(&certificates, &tls.ca))
            .map_err(certificate)?;
        let key = SocketKey::open(Client::new(&tls.signer), &tls.key, None)
            .map_err(|error| ConnectError::Key(error.to_string()))?;
        let key = Arc::new(WatchedKey::new(Arc::new(key)));
        let resolver = ClientCertResolver::new(key.clone(), &tls.cert).map_err(certificate)?;
        let resolver = Arc::new(resolver);
        let provider = Arc::new(tls.post_quantum.provider());
        // It is rustls's own, which remembers what it refused.
        let verifier = ServerVerifier::new(Arc::new(roots), provider)
            .map_err(|error| ConnectError::Certificate(error.sentence()))?;
        let verifier = Arc::new(verifier);
        let config = |post_quantum: PostQuantum| -> Result<_, ConnectError> {
            let provider = Arc::new(post_quantum.provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(post_quantum.versions(tls.tls12))
                .map_err(|error| ConnectError::Tls(TlsFailure::of(&error, &[]).sentence()))?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone())
                .with_client_cert_resolver(resolver.clone());
            let alpn = tls.alpn.iter().map(|name| name.clone().into_bytes());
            config.alpn_protocols = alpn.collect();
            // A resumed session would go without the HSM.
            config.resumption = Resumption::disabled();
            Ok(Arc::new(config))
        };
        Ok(Self {
            config: config(tls.post_quantum)?,
            second: tls.post_quantum.second().map(config).transpose()?,
            key,
            resolver,
            verifier,
        })
    }

    /// What was signed with, if anything was.
    pub(crate) fn scheme(&self) -> Option<SignatureScheme> {
        self.key.last().map(|signing| signing.scheme)
    }

    /// Why the handshake failed, or went without a certificate, if that was for want of the key or of the
    /// certificate.
    pub(crate) fn failure(&self) -> Option<ConnectError> {
        let key = self.key.last().and_then(|signing| signing.failure);
        let key = key.map(ConnectError::Key);
        key.or_else(|| self.resolver.last_error().map(ConnectError::Certificate))
    }
}

/// Whether the key and the certificate could be used now.
pub(crate) fn check(tls: &Tls) -> Result<(), ConnectError> {
    Identity::load(tls).map(drop)
}
