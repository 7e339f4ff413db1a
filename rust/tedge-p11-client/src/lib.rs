//! A client of tedge-p11-server, ours or thin-edge.io's: keys that stay behind its socket, for TLS
//! with rustls and for certificate signing requests with rcgen.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tedge_p11_client::{Client, ClientCertResolver, SocketKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("/run/tedge-p11-server/tedge-p11-server.sock");
//! let key = SocketKey::open(client, &"pkcs11:token=device;object=tls".parse()?, None)?;
//! let resolver = ClientCertResolver::new(Arc::new(key), "/etc/tedge/device.pem")?;
//! let config = rustls::ClientConfig::builder()
//!     .with_root_certificates(rustls::RootCertStore::empty())
//!     .with_client_cert_resolver(Arc::new(resolver));
//! # Ok(()) }
//! ```

#[cfg(feature = "rustls")]
mod certificate_files;
#[cfg(feature = "rustls")]
mod certificates;
mod client;
#[cfg(feature = "rcgen")]
mod csr;
mod error;
mod key;
mod socket_key;
#[cfg(feature = "rustls")]
mod tls;
mod watched_key;

#[cfg(feature = "rustls")]
pub use certificate_files::{read_ca_certificates, read_certificates, trust_anchors};
#[cfg(feature = "rustls")]
pub use certificates::{CertificatesError, Found, certificate_public_key, parse_certificates};
pub use client::{Client, TimeLimits};
#[cfg(feature = "rcgen")]
pub use csr::CsrKey;
pub use error::Error;
pub use key::PrivateKey;
pub use socket_key::SocketKey;
pub use tedge_p11_protocol::{
    CertificateEntry, DEFAULT_SOCKET_PATH, KeyEntry, KeySpec, Latency, ObjectType, Pin, PinError,
    PinSource, PublicKey, SignatureAlgorithm, SignatureScheme, Status, TokenEntry, TokenStatus,
    Uri, UriError, hex,
};
#[cfg(feature = "rustls")]
pub use tls::{ClientCertResolver, TlsKey, refuses_certificate};
pub use watched_key::{Signing, WatchedKey};
