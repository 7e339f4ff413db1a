//! What TLS and CSRs need of a private key, wherever it is.

use tedge_p11_protocol::{PublicKey, SignatureScheme, Uri};

use crate::error::Error;

/// A private key that signs but is not to be had: behind the signer's socket, or in a module that
/// this process loaded itself.
pub trait PrivateKey: std::fmt::Debug + Send + Sync {
    /// RFC 7512 URI of the key.
    fn uri(&self) -> &Uri;

    /// Its public key.
    fn public_key(&self) -> &PublicKey;

    /// What it can sign with, most preferred first.
    fn schemes(&self) -> &[SignatureScheme];

    /// Signs `message`, which is hashed by the signer, with exactly this scheme. ECDSA signatures
    /// come as DER `ECDSA-Sig-Value`, others raw: as TLS wants them.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error>;
}
