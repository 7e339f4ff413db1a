//! CertificateVerify of TLS 1.2 (RFC 5246, section 7.4.8): all handshake messages from ClientHello to
//! ClientKeyExchange, without record headers.

use tedge_p11_protocol::{PublicKey, SignatureScheme};

use crate::presentation::Reader;
use crate::unrecognized::Flaw;
use crate::{other_protocol, x509};

/// HandshakeType `client_hello`, which the message begins with.
pub(crate) const CLIENT_HELLO: u8 = 1;

/// Whether `message` is what a TLS 1.2 client signs that authenticates with `public_key`.
pub(crate) fn check(
    message: &[u8],
    scheme: SignatureScheme,
    public_key: &PublicKey,
) -> Result<(), Flaw> {
    if let Some(other) = other_protocol::read_as(message) {
        return Err(Flaw::OtherProtocol(other));
    }
    let mut handshake = Handshake(Reader::new(message));
    let offer = handshake.parse(CLIENT_HELLO, "ClientHello", client_hello)?;
    handshake.parse(SERVER_HELLO, "ServerHello", |body| {
        server_hello(body, &offer)
    })?;
    // Section 7.4.4: an anonymous server can't ask for a client's certificate.
    handshake.parse(CERTIFICATE, "server Certificate", leaf)?;
    if handshake.is_next(CERTIFICATE_STATUS) {
        handshake.parse(CERTIFICATE_STATUS, "CertificateStatus", certificate_status)?;
    }
    if handshake.is_next(SERVER_KEY_EXCHANGE) {
        // Its form depends on the cipher suite.
        handshake.parse(SERVER_KEY_EXCHANGE, "ServerKeyExchange", not_empty)?;
    }
    let schemes = handshake.parse(
        CERTIFICATE_REQUEST,
        "CertificateRequest",
        certificate_request,
    )?;
    handshake.parse(SERVER_HELLO_DONE, "ServerHelloDone", |body| {
        body.is_empty().then_some(())
    })?;
    let leaf = handshake.parse(CERTIFICATE, "client Certificate", leaf)?;
    handshake.parse(CLIENT_KEY_EXCHANGE, "ClientKeyExchange", not_empty)?;
    if !handshake.0.is_empty() {
        return Err(Flaw::Trailing);
    }
    // Section 7.4.8: it must be one of those that the server asked for.
    // ML-DSA is for TLS 1.3 alone; the list is the client's own word here.
    if scheme.is_post_quantum() || !schemes.contains(&scheme.0) {
        return Err(Flaw::Scheme(scheme));
    }
    if x509::subject_public_key_info(leaf)? != public_key.spki() {
        return Err(Flaw::OtherKey);
    }
    Ok(())
}

/// Handshake messages, one behind the other (section 7.4).
struct Handshake<'a>(Reader<'a>);

impl<'a> Handshake<'a> {
    fn is_next(&self, handshake_type: u8) -> bool {
        self.0.bytes().first() == Some(&handshake_type)
    }

    /// Parses the body of the next message, which must be of this type.
    fn parse<T>(
        &mut self,
        handshake_type: u8,
        name: &'static str,
        parse: impl FnOnce(Reader<'a>) -> Option<T>,
    ) -> Result<T, Flaw> {
        if self.0.u8() != Some(handshake_type) {
            return Err(Flaw::Missing(name));
        }
        let body = self.0.vector(3).ok_or(Flaw::Malformed(name))?;
        parse(body).ok_or(Flaw::Malformed(name))
    }
}

/// What a client offers and a server must choose from.
struct Offer<'a> {
    cipher_suites: Vec<u16>,
    compression_methods: &'a [u8],
}

/// Section 7.4.1.2. The version is the same in the ClientHello of TLS 1.3, which a server that knows
/// 1.2 only answers as one of 1.2.
fn client_hello(mut body: Reader<'_>) -> Option<Offer<'_>> {
    hello_start(&mut body)?;
    let cipher_suites = body.vector(2)?.u16s()?;
    let compression_methods = body.vector(1)?.bytes();
    extensions(body)?;
    // Every client must offer null.
    compression_methods.contains(&0).then_some(Offer {
        cipher_suites,
        compression_methods,
    })
}

/// Section 7.4.1.3.
fn server_hello(mut body: Reader<'_>, offer: &Offer<'_>) -> Option<()> {
    hello_start(&mut body)?;
    let chosen = offer.cipher_suites.contains(&body.u16()?)
        && offer.compression_methods.contains(&body.u8()?);
    // RFC 8446, section 4.2.1: it is sent for TLS 1.3 only.
    (chosen && !extensions(body)?.contains(&SUPPORTED_VERSIONS)).then_some(())
}

/// What both hellos begin with: version, random and session id.
fn hello_start(body: &mut Reader<'_>) -> Option<()> {
    let is_tls12 = body.u16()? == TLS12;
    body.take(32)?;
    let session_id = body.vector(1)?.bytes();
    (is_tls12 && session_id.len() <= 32).then_some(())
}

/// The types of the extensions that a hello ends with, if it has any (section 7.4.1.4).
fn extensions(mut body: Reader<'_>) -> Option<Vec<u16>> {
    let mut types = Vec::new();
    if body.is_empty() {
        return Some(types);
    }
    let mut extensions = body.vector(2)?;
    while !extensions.is_empty() {
        types.push(extensions.u16()?);
        extensions.vector(2)?;
    }
    body.is_empty().then_some(types)
}

/// The sender's own certificate out of a Certificate message (section 7.4.2).
fn leaf(body: Reader<'_>) -> Option<&[u8]> {
    let mut certificates = body.last_vector(3)?;
    let leaf = certificates.vector(3)?;
    not_empty(leaf)?;
    while !certificates.is_empty() {
        not_empty(certificates.vector(3)?)?;
    }
    Some(leaf.bytes())
}

/// RFC 6066, section 8, and RFC 6961, section 2.2: one OCSP response or a list of them.
fn certificate_status(mut body: Reader<'_>) -> Option<()> {
    matches!(body.u8()?, 1 | 2).then_some(())?;
    body.last_vector(3).map(|_| ())
}

/// The schemes that a server asks for (section 7.4.4).
fn certificate_request(mut body: Reader<'_>) -> Option<Vec<u16>> {
    let certificate_types = body.vector(1)?;
    let schemes = body.vector(2)?.u16s()?;
    let mut authorities = body.vector(2)?;
    while !authorities.is_empty() {
        authorities.vector(2)?;
    }
    (body.is_empty() && !certificate_types.is_empty()).then_some(schemes)
}

fn not_empty(body: Reader<'_>) -> Option<()> {
    (!body.is_empty()).then_some(())
}

/// ProtocolVersion of TLS 1.2 (section 6.2.1).
const TLS12: u16 = 0x0303;
/// ExtensionType (RFC 8446, section 4.2).
const SUPPORTED_VERSIONS: u16 = 43;
/// HandshakeType (section 7.4).
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// RFC 6066, section 8.
const CERTIFICATE_STATUS: u8 = 22;
