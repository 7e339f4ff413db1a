//! What client and signer agree on: the frames of the tedge-p11-server protocol and their encoding,
//! the limits on them, PKCS#11 URIs (RFC 7512), PINs and TLS signature schemes (RFC 8446).
//!
//! Nothing here opens a socket or calls a PKCS#11 module.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod bytes;
mod codec;
mod core_dump;
mod decoder;
mod extension;
mod frame;
mod object_list;
mod pin;
mod public_key;
mod scheme;
mod token_entry;
mod uri;

pub use bytes::Bytes;
pub use codec::DecodeError;
pub use core_dump::forbid_core_dumps;
pub use decoder::{Decoder, MAX_REQUEST_LEN, MAX_RESPONSE_LEN};
pub use extension::{
    CertificateEntry, ChangeSoPin, ExtensionCreateKey, ExtensionRequest, ExtensionResponse,
    ExtensionSign, Failure, KeyInfo, KeyInfoRequest, KeySpec, KeyUse, Latency, Reason, SignDigest,
    Status, TokenStatus, TokenUse, WriteCertificate,
};
pub use frame::{
    ChangePin, ChooseScheme, ChosenScheme, CreateKey, CreatedKey, DeleteKey, InitToken, KeyEntry,
    KeyPairParams, KeyParams, ListKeys, Request, Response, Sign, SignWithScheme, V1Scheme,
};
pub use object_list::{ListObjects, ObjectContent, ObjectEntry, ObjectFlag, ObjectFlags, Objects};
pub use pin::{Pin, PinError};
pub use public_key::PublicKey;
pub use scheme::{SignatureAlgorithm, SignatureScheme};
pub use token_entry::TokenEntry;
pub use uri::{ObjectType, PinSource, Uri, UriError};

/// Object identifiers of curves.
pub mod curve {
    pub use crate::public_key::{ED25519, P256, P384, P521};
}

/// Object identifiers of ML-DSA, of keys and signatures alike.
pub mod ml_dsa {
    pub use crate::public_key::{ML_DSA_44, ML_DSA_65, ML_DSA_87};
}

/// Lower-case hexadecimal digits of `bytes`, as ids are shown.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where the signer listens unless told otherwise, as thin-edge.io's does.
pub const DEFAULT_SOCKET_PATH: &str = "/run/tedge-p11-server/tedge-p11-server.sock";

/// What our own PKCS#11 module calls its maker (`CK_INFO`'s `manufacturerID`). A signer that loaded it would call
/// itself.
pub const MODULE_MANUFACTURER: &str = "tedge-p11-module";

/// What is in the file of our own PKCS#11 module, and in no other: by it the file is known, whatever its name, before
/// any of it runs.
pub const MODULE_MARK: &[u8; 57] = b"tedge-p11-module: for programs that use tedge-p11-server\0";
