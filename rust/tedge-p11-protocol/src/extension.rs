//! Frames of this project's own, for what version 1 can't say. They lie behind an outer
//! discriminant of their own; a signer that does not know it answers with an Error frame, and a
//! client then keeps to version 1. See `docs/protocol.md`.

use crate::bytes::Bytes;
use crate::codec::{DecodeError, Reader, Wire, Writer, wire_struct};
use crate::object_list::{ListObjects, Objects};
use crate::pin::Pin;
use crate::scheme::SignatureScheme;
use crate::token_entry::TokenEntry;

/// A request of this project's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionRequest {
    /// Does the signer know these frames at all? Answered by [`ExtensionResponse::Hello`].
    Hello,
    /// All that a TLS client needs to know of a key, answered by [`ExtensionResponse::KeyInfo`].
    KeyInfo(KeyInfoRequest),
    /// Sign with any scheme, answered by `Response::Signature`.
    Sign(ExtensionSign),
    /// Make a key pair of any type, answered by [`ExtensionResponse::KeyInfo`].
    CreateKey(ExtensionCreateKey),
    /// How the signer is, answered by [`ExtensionResponse::Status`] without asking the module.
    Status,
    /// The certificate that lies beside a key, answered by [`ExtensionResponse::Certificate`].
    ReadCertificate(Option<String>),
    /// Put a certificate beside its key, answered by [`ExtensionResponse::Done`].
    WriteCertificate(WriteCertificate),
    /// Change the security officer's PIN, answered by [`ExtensionResponse::Done`].
    ChangeSoPin(ChangeSoPin),
    /// The tokens that the configured URI leaves, and what a client needs to use them; answered by
    /// [`ExtensionResponse::Tokens`].
    Tokens,
    /// A key and what the client may do with it, answered by [`ExtensionResponse::KeyUse`].
    KeyUse(KeyInfoRequest),
    /// Sign a digest that the client made, answered by `Response::Signature`.
    SignDigest(SignDigest),
    /// The objects of a token, described, answered by [`ExtensionResponse::Objects`].
    Objects(ListObjects),
}

/// An answer of this project's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionResponse {
    /// It does.
    Hello,
    /// A key, described.
    KeyInfo(KeyInfo),
    /// How the signer is.
    Status(Box<Status>),
    /// A certificate.
    Certificate(CertificateEntry),
    /// It is done; the URI of what it was done to.
    Done(String),
    /// Why there is no other answer to an explained request.
    Failure(Failure),
    /// The tokens.
    Tokens(Vec<TokenUse>),
    /// A key and what the client may do with it.
    KeyUse(KeyUse),
    /// Objects of a token.
    Objects(Objects),
}

wire_struct! {
    /// Fields of [`ExtensionRequest::KeyInfo`].
    KeyInfoRequest {
        /// RFC 7512 URI of the key.
        uri: Option<String>,
        /// User PIN of its token.
        pin: Option<Pin>,
    }

    /// Fields of [`ExtensionRequest::Sign`].
    ExtensionSign {
        /// The message; the signer hashes it.
        to_sign: Bytes,
        /// RFC 7512 URI of the key.
        uri: Option<String>,
        /// The scheme.
        scheme: SignatureScheme,
        /// User PIN of the key's token.
        pin: Option<Pin>,
    }

    /// Fields of [`ExtensionRequest::SignDigest`].
    SignDigest {
        /// The digest: for RSA of the scheme's hash, for ECDSA of SHA-256, SHA-384 or SHA-512, whatever the curve.
        digest: Bytes,
        /// RFC 7512 URI of the key.
        uri: Option<String>,
        /// The scheme; for ECDSA that of the key's curve.
        scheme: SignatureScheme,
        /// User PIN of the key's token.
        pin: Option<Pin>,
    }

    /// Fields of [`ExtensionRequest::CreateKey`].
    ExtensionCreateKey {
        /// RFC 7512 URI of the token.
        uri: Option<String>,
        /// Type and size.
        key: KeySpec,
        /// `CKA_LABEL` of both objects.
        label: String,
        /// `CKA_ID` of both objects; made at random without.
        id: Option<Bytes>,
        /// User PIN of the token.
        pin: Option<Pin>,
    }

    /// Fields of [`ExtensionRequest::WriteCertificate`].
    WriteCertificate {
        /// RFC 7512 URI of the private key.
        uri: Option<String>,
        /// DER X.509 certificate.
        certificate: Bytes,
        /// User PIN of the key's token.
        pin: Option<Pin>,
    }

    /// Fields of [`ExtensionRequest::ChangeSoPin`].
    ChangeSoPin {
        /// RFC 7512 URI of the token.
        uri: Option<String>,
        /// The PIN until now.
        old_pin: Pin,
        /// The PIN to set.
        new_pin: Pin,
    }

    /// A certificate on a token.
    CertificateEntry {
        /// RFC 7512 URI of the certificate.
        uri: String,
        /// DER X.509 certificate.
        der: Bytes,
    }

    /// A private key, without anything secret.
    KeyInfo {
        /// RFC 7512 URI that names this key and no other.
        uri: String,
        /// DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
        spki: Bytes,
        /// What the key can sign with, in the order that a TLS 1.3 client prefers.
        schemes: Vec<SignatureScheme>,
    }

    /// A key, and what a client may do with it.
    KeyUse {
        /// The key.
        info: KeyInfo,
        /// Whether the client may have digests signed that it made itself.
        digests: bool,
    }

    /// A token, for a client that uses it.
    TokenUse {
        /// The token.
        token: TokenEntry,
        /// Whether requests for its keys must bring a PIN, since the signer has none.
        needs_pin: bool,
        /// `CKF_USER_PIN_INITIALIZED`.
        has_user_pin: bool,
        /// Whether the client may have digests signed with some key on it.
        digests: bool,
    }

    /// Why a request failed, for a program.
    Failure {
        /// What to make of it.
        reason: Reason,
        /// What an Error frame would say.
        message: String,
    }

    /// How a signer is, and what it has done since it started.
    Status {
        /// Version of the signer.
        version: String,
        /// Seconds since it started.
        uptime: u64,
        /// File of its PKCS#11 module.
        module: String,
        /// The tokens that it has used.
        tokens: Vec<TokenStatus>,
        /// Requests so far, but for those that no call on the module was needed for.
        requests: u64,
        /// Signatures among them.
        signatures: u64,
        /// Requests that failed.
        failed: u64,
        /// Requests that the policy refused.
        refused: u64,
        /// Requests that came too fast.
        throttled: u64,
        /// Connections now.
        connections: u64,
        /// Calls on the module that have not returned yet.
        calls: u64,
        /// Milliseconds since the oldest of them began.
        longest_call: u64,
        /// Time that signatures took.
        latency: Latency,
        /// What failed last; empty if nothing has.
        last_error: String,
        /// Seconds since then.
        last_error_age: u64,
        /// Why the configuration on disk is not the one in force; empty if it is.
        reload_error: String,
    }

    /// A token that the signer has used.
    TokenStatus {
        /// RFC 7512 URI of the token.
        uri: String,
        /// What it fails with; empty if it works.
        trouble: String,
        /// Milliseconds until it is tried again.
        pause: u64,
    }

    /// How the time that signatures took is distributed, in microseconds, each at most a quarter too long.
    Latency {
        /// Median.
        p50: u64,
        /// 90th percentile.
        p90: u64,
        /// 99th percentile.
        p99: u64,
        /// The longest.
        max: u64,
    }
}

/// What a client can make of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// None of the others, or one that this version does not know.
    Other,
    /// The policy says no.
    Refused,
    /// The token needs its user PIN, and neither the request nor the signer has it.
    PinNeeded,
    /// The token does not take the PIN, or did not when it was last tried.
    PinIncorrect,
    /// The PIN is locked.
    PinLocked,
    /// No token, or several, match the URI.
    NoToken,
    /// No key or certificate, or several, match the URI.
    NoObject,
    /// The key or the token can't do this.
    Unsupported,
    /// The token is busy, or rests after failures.
    Busy,
    /// The token failed.
    Token,
}

/// Type and size of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// EC on P-256.
    EcP256,
    /// EC on P-384.
    EcP384,
    /// EC on P-521.
    EcP521,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44 (FIPS 204).
    MlDsa44,
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
    /// ML-DSA-87 (FIPS 204).
    MlDsa87,
}

impl Wire for ExtensionRequest {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Hello => out.put_varint(0),
            Self::KeyInfo(request) => {
                out.put_varint(1);
                request.encode(out);
            }
            Self::Sign(request) => {
                out.put_varint(2);
                request.encode(out);
            }
            Self::CreateKey(request) => {
                out.put_varint(3);
                request.encode(out);
            }
            Self::Status => out.put_varint(4),
            Self::ReadCertificate(uri) => {
                out.put_varint(5);
                uri.encode(out);
            }
            Self::WriteCertificate(request) => {
                out.put_varint(6);
                request.encode(out);
            }
            Self::ChangeSoPin(request) => {
                out.put_varint(7);
                request.encode(out);
            }
            Self::Tokens => out.put_varint(8),
            Self::KeyUse(request) => {
                out.put_varint(9);
                request.encode(out);
            }
            Self::SignDigest(request) => {
                out.put_varint(10);
                request.encode(out);
            }
            Self::Objects(request) => {
                out.put_varint(11);
                request.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.take_discriminant()? {
            0 => Ok(Self::Hello),
            1 => Wire::decode(input).map(Self::KeyInfo),
            2 => Wire::decode(input).map(Self::Sign),
            3 => Wire::decode(input).map(Self::CreateKey),
            4 => Ok(Self::Status),
            5 => Wire::decode(input).map(Self::ReadCertificate),
            6 => Wire::decode(input).map(Self::WriteCertificate),
            7 => Wire::decode(input).map(Self::ChangeSoPin),
            8 => Ok(Self::Tokens),
            9 => Wire::decode(input).map(Self::KeyUse),
            10 => Wire::decode(input).map(Self::SignDigest),
            11 => Wire::decode(input).map(Self::Objects),
            other => Err(DecodeError::UnknownFrame(other)),
        }
    }
}

impl Wire for ExtensionResponse {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Hello => out.put_varint(0),
            Self::KeyInfo(info) => {
                out.put_varint(1);
                info.encode(out);
            }
            Self::Status(status) => {
                out.put_varint(2);
                status.encode(out);
            }
            Self::Certificate(certificate) => {
                out.put_varint(3);
                certificate.encode(out);
            }
            Self::Done(uri) => {
                out.put_varint(4);
                uri.encode(out);
            }
            Self::Failure(failure) => {
                out.put_varint(5);
                failure.encode(out);
            }
            Self::Tokens(tokens) => {
                out.put_varint(6);
                tokens.encode(out);
            }
            Self::KeyUse(key) => {
                out.put_varint(7);
                key.encode(out);
            }
            Self::Objects(objects) => {
                out.put_varint(8);
                objects.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.take_discriminant()? {
            0 => Ok(Self::Hello),
            1 => Wire::decode(input).map(Self::KeyInfo),
            2 => Wire::decode(input).map(Box::new).map(Self::Status),
            3 => Wire::decode(input).map(Self::Certificate),
            4 => Wire::decode(input).map(Self::Done),
            5 => Wire::decode(input).map(Self::Failure),
            6 => Wire::decode(input).map(Self::Tokens),
            7 => Wire::decode(input).map(Self::KeyUse),
            8 => Wire::decode(input).map(Self::Objects),
            other => Err(DecodeError::UnknownFrame(other)),
        }
    }
}

impl std::fmt::Display for KeySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EcP256 => "EC P-256",
            Self::EcP384 => "EC P-384",
            Self::EcP521 => "EC P-521",
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa3072 => "RSA 3072",
            Self::Rsa4096 => "RSA 4096",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        })
    }
}

impl Wire for KeySpec {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        let position = KEY_SPECS.iter().position(|spec| spec == self);
        // KEY_SPECS lists every variant, so there is a position.
        out.put_varint(position.unwrap_or_default() as u64);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = input.take_discriminant()?;
        KEY_SPECS
            .get(value as usize)
            .copied()
            .ok_or(DecodeError::UnknownVariant {
                what: "key type",
                value,
            })
    }
}

impl Wire for Reason {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        let position = REASONS.iter().position(|reason| reason == self);
        // REASONS lists every variant, so there is a position.
        out.put_varint(position.unwrap_or_default() as u64);
    }

    /// One that a later version added is no reason to drop the message.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = input.take_discriminant()? as usize;
        Ok(REASONS.get(value).copied().unwrap_or(Self::Other))
    }
}

/// At their discriminants.
const REASONS: [Reason; 10] = [
    Reason::Other,
    Reason::Refused,
    Reason::PinNeeded,
    Reason::PinIncorrect,
    Reason::PinLocked,
    Reason::NoToken,
    Reason::NoObject,
    Reason::Unsupported,
    Reason::Busy,
    Reason::Token,
];

/// At their discriminants.
const KEY_SPECS: [KeySpec; 10] = [
    KeySpec::EcP256,
    KeySpec::EcP384,
    KeySpec::EcP521,
    KeySpec::Rsa2048,
    KeySpec::Rsa3072,
    KeySpec::Rsa4096,
    KeySpec::Ed25519,
    KeySpec::MlDsa44,
    KeySpec::MlDsa65,
    KeySpec::MlDsa87,
];
