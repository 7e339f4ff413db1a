//! TLS with the key in the HSM.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use tedge_p11_client::{
    Client, ClientCertResolver, ServerVerifier, SocketKey, TlsFailure, WatchedKey,
    read_ca_certificates, trust_anchors,
};

use crate::error::ConnectError;
use crate::profile::Tls;

/// What one handshake needs, made anew for each: the key may be another one, the certificate renewed.
pub(crate) struct Identity {
    key: Arc<WatchedKey>,
    resolver: Arc<ClientCertResolver>,
    pub(crate) verifier: Arc<ServerVerifier>,
    pub(crate) config: Arc<ClientConfig>,
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
        let versions: &[_] = if tls.tls12 {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        } else {
            &[&rustls::version::TLS13]
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = ServerVerifier::new(Arc::new(roots), provider.clone())
            .map_err(|error| ConnectError::Certificate(error.sentence()))?;
        let verifier = Arc::new(verifier);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| ConnectError::Tls(TlsFailure::of(&error, &[]).sentence()))?
            // It is rustls's own, which remembers what it refused.
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(resolver.clone());
        config.alpn_protocols = tls
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        // A resumed session would go without the HSM.
        config.resumption = Resumption::disabled();
        Ok(Self {
            key,
            resolver,
            verifier,
            config: Arc::new(config),
        })
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
