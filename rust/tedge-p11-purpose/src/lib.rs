//! What is this that is to be signed? A signer that serves the key of a TLS client can refuse what
//! is not one of the few [`Purpose`]s such a key has. No I/O here, and bounded work: each message is
//! read once or twice from front to back, without recursion.
//!
//! # Can a message pass as one purpose and mean something else?
//!
//! Who asks for a signature chooses most bytes of the message; what he can't choose is its form.
//!
//! * The purposes exclude each other by the first byte: 0x20 a TLS 1.3 CertificateVerify, 0x01 a TLS
//!   1.2 transcript, 0x30 DER. A CertificationRequestInfo has attributes, tagged `[0]`, fourth; a
//!   TBSCertificate of version 3 has its `[0]` first, and one of version 1 has a SEQUENCE fourth.
//! * `tls13-client` is the strongest: all but the 32 or 48 bytes of the hash are fixed, and RFC 8446,
//!   section 4.4.3, made the prefix so that nothing else looks like it. The server's
//!   CertificateVerify, delegated credentials (RFC 9345) and exported authenticators (RFC 9261) have
//!   other context strings. QUIC, DTLS 1.3 and EAP-TLS 1.3 share this one: they are TLS 1.3 clients.
//! * `csr` and `self-signed` fix the form and this key's SubjectPublicKeyInfo to the last byte, with
//!   nothing behind. Other DER that gets signed has another form: the SignedAttributes of CMS are a
//!   SET (0x31); a ResponseData of OCSP has a responder `[1]` or `[2]` where a certificate has its
//!   serial number; a TBSCertList has a Time where a certificate has a SEQUENCE, and version 1 where a
//!   request has 0; a CertRequest of CRMF has no BIT STRING in its third element.
//! * `tls12-client` is the weakest, since TLS 1.2 has no context string. Two protocols whose
//!   certificates may be the same sign bytes that a chosen ClientHello can imitate, and what reads
//!   as theirs is refused: ServerKeyExchange of a TLS 1.2 server (RFC 5246, section 7.4.3), which
//!   begins with the peer's random (with parameters for DH, ECDH on named and explicit curves, and
//!   SRP), and AUTH of IKEv2 (RFC 7296, section 2.15), which begins with an
//!   IKE header. A policy that can do without TLS 1.2 should leave this purpose out.
//! * JWT and JWS (text, first `e`), SSH (`SSHSIG`, or a length, first 0x00), COSE (CBOR array, first
//!   0x84 or 0x85) and TPM quotes (first 0xff) begin with other bytes. A SSH host signs a bare hash:
//!   too short for any purpose.
//! * What is left is a verifier that takes any bytes whatever as signed by this key, such as CMS
//!   without signed attributes: it can be shown a message of these forms, and no other. Names and
//!   attributes of a request, and extensions of a certificate, are the client's choice. A reader that
//!   finds its own format in the middle of other bytes (ZIP is read from the end) finds it there;
//!   [at most 8 KiB](Flaw::TooLong) are signed.
//!
//! Hashes made elsewhere can't be signed at all: the signer hashes the message itself.
//!
//! # CA certificates
//!
//! A self-signed certificate may say `cA TRUE` and `keyCertSign`. thin-edge.io makes its own that
//! way, because Cumulocity refuses others, and so does `openssl req -x509`. It is no way to sign for
//! others: a certificate with another key, issuer or subject has no purpose here, nor has a CRL or
//! an OCSP response. Who trusts such a certificate as an anchor trusts further certificates that
//! this key makes for itself, with other names in `subjectAltName` too, whatever `cA` says; an
//! operator who does not want that leaves `self-signed` out.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod csr;
mod other_protocol;
mod presentation;
mod purpose;
mod self_signed;
mod signature_algorithm;
mod tls12;
mod tls13;
mod unrecognized;
mod x509;

use tedge_p11_protocol::{PublicKey, SignatureScheme};

pub use purpose::{Purpose, UnknownPurpose};
pub use unrecognized::{Flaw, Unrecognized};

/// Tells what `message` is, given the key and the scheme that it is to be signed with.
///
/// Exactly one purpose fits, or none.
pub fn recognize(
    message: &[u8],
    scheme: SignatureScheme,
    public_key: Option<&PublicKey>,
) -> Result<Purpose, Unrecognized> {
    let purpose = resembled(message).ok_or(Unrecognized::Nothing)?;
    check_len(message, purpose).map_err(|flaw| Unrecognized::Flawed { purpose, flaw })?;
    let key = public_key.ok_or(Flaw::UnknownKey);
    match purpose {
        Purpose::Tls13Client => tls13::check(message, scheme),
        Purpose::Tls12Client => key.and_then(|key| tls12::check(message, scheme, key)),
        Purpose::Csr => key.and_then(|key| csr::check(message, key)),
        Purpose::SelfSigned => key.and_then(|key| self_signed::check(message, scheme, key)),
    }
    .map_err(|flaw| Unrecognized::Flawed { purpose, flaw })?;
    Ok(purpose)
}

/// A transcript is as long as the server's certificates make it.
fn check_len(message: &[u8], purpose: Purpose) -> Result<(), Flaw> {
    let (len, max) = (message.len(), MAX_DOCUMENT_LEN);
    match purpose {
        Purpose::Csr | Purpose::SelfSigned if len > max => Err(Flaw::TooLong { len, max }),
        _ => Ok(()),
    }
}

/// Most bytes of a request or certificate. A device's has some hundred; with names and extensions of every kind,
/// a few thousand.
const MAX_DOCUMENT_LEN: usize = 8 * 1024;

/// The only purpose that a message which begins like this can have.
fn resembled(message: &[u8]) -> Option<Purpose> {
    match *message.first()? {
        tls13::PAD => Some(Purpose::Tls13Client),
        tls12::CLIENT_HELLO => Some(Purpose::Tls12Client),
        x509::SEQUENCE if csr::resembles(message) => Some(Purpose::Csr),
        x509::SEQUENCE if self_signed::resembles(message) => Some(Purpose::SelfSigned),
        _ => None,
    }
}
