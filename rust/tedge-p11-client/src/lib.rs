//! A client of tedge-p11-server, ours or thin-edge.io's: keys that stay behind its socket.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]
#![cfg_attr(feature = "rustls", doc = include_str!("../README.md"))]

#[cfg(feature = "rustls")]
mod alert;
#[cfg(feature = "rustls")]
mod certificate_failure;
#[cfg(feature = "rustls")]
mod certificate_files;
#[cfg(feature = "rustls")]
mod certificates;
mod client;
#[cfg(feature = "rcgen")]
mod csr;
mod error;
mod key;
#[cfg(feature = "rustls")]
mod server_verifier;
mod socket_key;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "rustls")]
mod tls_failure;
mod unix_socket;
mod watched_key;
#[cfg(feature = "rustls")]
mod words;

#[cfg(feature = "rustls")]
pub use alert::refuses_certificate;
#[cfg(feature = "rustls")]
pub use certificate_failure::Whose;
#[cfg(feature = "rustls")]
pub use certificate_files::{
    read_ca_certificates, read_ca_folder, read_certificates, trust_anchors,
};
#[cfg(feature = "rustls")]
pub use certificates::{
    CertificatesError, Found, certificate_end, certificate_public_key, parse_certificates,
};
pub use client::{Client, TimeLimits};
#[cfg(feature = "rcgen")]
pub use csr::CsrKey;
pub use error::Error;
pub use key::PrivateKey;
#[cfg(feature = "rustls")]
pub use server_verifier::ServerVerifier;
pub use socket_key::SocketKey;
pub use tedge_p11_protocol::{
    CertificateEntry, DEFAULT_SOCKET_PATH, KeyEntry, KeySpec, Latency, ObjectType, Pin, PinError,
    PinSource, PublicKey, Reason, SignatureAlgorithm, SignatureScheme, Status, TokenEntry,
    TokenStatus, TokenUse, Uri, UriError, forbid_core_dumps, hex, ml_dsa,
};
#[cfg(feature = "rustls")]
pub use tls::{ClientCertResolver, TlsKey};
#[cfg(feature = "rustls")]
pub use tls_failure::{About, TlsFailure};
pub use unix_socket::connect_within;
pub use watched_key::{Signing, WatchedKey};
