//! The key in rcgen, for certificate signing requests.

use std::sync::Arc;

use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use tedge_p11_protocol::SignatureScheme;

use crate::error::Error;
use crate::key::PrivateKey;

/// A [`PrivateKey`] as rcgen wants it.
#[derive(Debug)]
pub struct CsrKey {
    key: Arc<dyn PrivateKey>,
    scheme: SignatureScheme,
    algorithm: &'static SignatureAlgorithm,
}

impl CsrKey {
    /// Fails for a key that has no signature algorithm in common with rcgen. P-521 is such a key:
    /// rcgen has it with aws-lc only, which a cross build can't have.
    pub fn new(key: Arc<dyn PrivateKey>) -> Result<Self, Error> {
        let (scheme, algorithm) = ALGORITHMS
            .iter()
            .find(|(scheme, _)| key.schemes().contains(scheme))
            .ok_or_else(|| {
                let schemes: Vec<_> = key.schemes().iter().map(ToString::to_string).collect();
                Error::Certificate(format!(
                    "a certificate signing request cannot be signed with {}; it takes P-256, P-384, \
                     RSA or Ed25519",
                    schemes.join(", ")
                ))
            })?;
        Ok(Self {
            key,
            scheme: *scheme,
            algorithm: *algorithm,
        })
    }
}

impl PublicKeyData for CsrKey {
    fn der_bytes(&self) -> &[u8] {
        self.key.public_key().raw()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for CsrKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(self.scheme, message).map_err(|error| {
            // rcgen's error has no room for the reason.
            log::error!("cannot sign the request: {error}");
            rcgen::Error::RemoteKeyError
        })
    }
}

static ALGORITHMS: &[(SignatureScheme, &SignatureAlgorithm)] = &[
    (
        SignatureScheme::ECDSA_SECP256R1_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    ),
    (
        SignatureScheme::ECDSA_SECP384R1_SHA384,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ),
    (SignatureScheme::ED25519, &rcgen::PKCS_ED25519),
    (SignatureScheme::RSA_PKCS1_SHA256, &rcgen::PKCS_RSA_SHA256),
];
