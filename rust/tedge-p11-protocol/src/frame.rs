//! The 24 frames of protocol version 1, as thin-edge.io deployed it, in two enums: what a client
//! may send and what a signer may answer. The byte vectors are held in `tests/vectors.rs`.

use crate::bytes::Bytes;
use crate::codec::{DecodeError, Reader, Wire, Writer, wire_frames, wire_struct};
use crate::extension::{ExtensionRequest, ExtensionResponse};
use crate::pin::Pin;
use crate::scheme::SignatureScheme;
use crate::token_entry::TokenEntry;

/// A frame from a client to the signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which of the offered schemes the key can do.
    ChooseScheme(ChooseScheme),
    /// Sign with the key's default scheme.
    Sign(Sign),
    /// Sign with a given scheme.
    SignWithScheme(SignWithScheme),
    /// The public key of the key the URI names. The answer is not a `SubjectPublicKeyInfo`: see
    /// [`Response::PublicKeyPem`].
    PublicKeyPem(Option<String>),
    /// Is there a signer, and has it loaded its module?
    Ping,
    /// Generate a key pair on a token.
    CreateKey(CreateKey),
    /// The URIs of all initialised tokens.
    TokensUris,
    /// Initialise a token and set its user PIN.
    InitToken(InitToken),
    /// All slots with a token, initialised or not.
    ListTokens,
    /// Change the user PIN, or have the security officer set it anew.
    ChangePin(ChangePin),
    /// Delete the objects of one key.
    DeleteKey(DeleteKey),
    /// The keys that a URI leaves.
    ListKeys(ListKeys),
    /// A request of this project's own, see [`ExtensionRequest`].
    Extension(ExtensionRequest),
    /// Another request, whose failure is answered by [`ExtensionResponse::Failure`]. There is none in it.
    Explained(Box<Request>),
}

/// A frame from the signer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The request failed; the text is for a person.
    Error(String),
    /// Answers `ChooseScheme`.
    ChosenScheme(ChosenScheme),
    /// Answers both sign requests: ECDSA as DER `ECDSA-Sig-Value`, RSA and Ed25519 raw.
    Signature(Bytes),
    /// Answers `PublicKeyPem`: PEM labelled `PUBLIC KEY` around the bare EC point (0x04…) or the
    /// PKCS#1 `RSAPublicKey`. It is no `SubjectPublicKeyInfo`; deployed clients count on that.
    PublicKeyPem(String),
    /// Answers `Ping`.
    Pong,
    /// Answers `CreateKey`.
    CreatedKey(CreatedKey),
    /// Answers `TokensUris`.
    TokensUris(Vec<String>),
    /// Answers `InitToken` with the new token's URI.
    InitToken(String),
    /// Answers `ListTokens`.
    Tokens(Vec<TokenEntry>),
    /// Answers `ChangePin` with the token's URI.
    ChangePin(String),
    /// Answers `DeleteKey` with the URIs of the objects that are gone.
    DeletedKeys(Vec<String>),
    /// Answers `ListKeys`.
    Keys(Vec<KeyEntry>),
    /// Answers an [`ExtensionRequest`].
    Extension(ExtensionResponse),
}

wire_struct! {
    /// Fields of [`Request::ChooseScheme`].
    ChooseScheme {
        /// The schemes that the TLS peer takes, most preferred first.
        offered: Vec<SignatureScheme>,
        /// RFC 7512 URI of the key.
        uri: Option<String>,
        /// User PIN of its token.
        pin: Option<Pin>,
    }

    /// Fields of [`Request::Sign`].
    Sign {
        /// The message; the signer hashes it.
        to_sign: Bytes,
        /// RFC 7512 URI of the key.
        uri: Option<String>,
        /// User PIN of its token.
        pin: Option<Pin>,
    }

    /// Fields of [`Request::SignWithScheme`].
    SignWithScheme {
        /// The message; the signer hashes it.
        to_sign: Bytes,
        /// RFC 7512 URI of the key.
        uri: Option<String>,
        /// One of the five schemes this frame can name; the key's default without.
        scheme: Option<V1Scheme>,
        /// User PIN of the key's token.
        pin: Option<Pin>,
    }

    /// Fields of [`Response::ChosenScheme`].
    ChosenScheme {
        /// The scheme, or none when the key can do none of those offered.
        scheme: Option<SignatureScheme>,
        /// The key's `SignatureAlgorithm` (RFC 5246).
        algorithm: u8,
    }

    /// Fields of [`Request::CreateKey`].
    CreateKey {
        /// RFC 7512 URI of the token.
        uri: String,
        /// What to make.
        params: KeyPairParams,
        /// User PIN of the token.
        pin: Option<Pin>,
    }

    /// What kind of key pair to make, and what to call it.
    KeyPairParams {
        /// Type and size.
        key: KeyParams,
        /// `CKA_LABEL` of both objects.
        label: String,
        /// `CKA_ID` of both objects; made at random without.
        id: Option<Bytes>,
    }

    /// Fields of [`Response::CreatedKey`].
    CreatedKey {
        /// The public key, as in [`Response::PublicKeyPem`].
        pem: String,
        /// URI of the key.
        uri: String,
    }

    /// Fields of [`Request::InitToken`].
    InitToken {
        /// Label for the token.
        label: String,
        /// PIN for its security officer.
        so_pin: Option<Pin>,
        /// PIN for its user.
        pin: Option<Pin>,
        /// RFC 7512 URI that picks the token when several are uninitialised.
        uri: Option<String>,
    }

    /// Fields of [`Request::ChangePin`].
    ChangePin {
        /// RFC 7512 URI of the token.
        uri: Option<String>,
        /// The PIN to set.
        new_pin: Pin,
        /// The user's PIN until now, unless `reset`.
        old_pin: Option<Pin>,
        /// The security officer's PIN, when `reset`.
        so_pin: Option<Pin>,
        /// Whether the security officer sets the user's PIN anew.
        reset: bool,
    }

    /// Fields of [`Request::DeleteKey`].
    DeleteKey {
        /// RFC 7512 URI of the key.
        uri: String,
        /// User PIN of its token.
        pin: Option<Pin>,
    }

    /// Fields of [`Request::ListKeys`].
    ListKeys {
        /// RFC 7512 URI that narrows the list.
        uri: Option<String>,
        /// User PIN of the tokens.
        pin: Option<Pin>,
    }

    /// A key object.
    KeyEntry {
        /// `private` or `public`.
        class: String,
        /// `RSA`, `EC` or `EC_EDWARDS`.
        key_type: String,
        /// `CKA_LABEL`.
        label: String,
        /// `CKA_ID` in hexadecimal.
        id: String,
        /// RFC 7512 URI of the object.
        uri: String,
    }
}

/// Type and size of a key pair to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyParams {
    /// RSA with a modulus of so many bits.
    Rsa {
        /// 2048, 3072 or 4096.
        bits: u16,
    },
    /// EC on the NIST curve over a field of so many bits.
    Ec {
        /// 256, 384 or 521.
        curve: u16,
    },
}

/// One of the five schemes that [`Request::SignWithScheme`] can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V1Scheme(SignatureScheme);

impl V1Scheme {
    /// `None` when the frame has no way to name `scheme`.
    #[must_use]
    pub fn new(scheme: SignatureScheme) -> Option<Self> {
        V1_SCHEMES.contains(&scheme).then_some(Self(scheme))
    }

    /// The scheme.
    #[must_use]
    pub fn get(self) -> SignatureScheme {
        self.0
    }
}

impl Wire for V1Scheme {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        let position = V1_SCHEMES.iter().position(|scheme| *scheme == self.0);
        // `new` lets in no other scheme, so there is a position.
        out.put_varint(position.unwrap_or_default() as u64);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = input.take_discriminant()?;
        V1_SCHEMES
            .get(value as usize)
            .map(|scheme| Self(*scheme))
            .ok_or(DecodeError::UnknownVariant {
                what: "signature scheme",
                value,
            })
    }
}

impl Wire for SignatureScheme {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        self.0.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u16::decode(input).map(Self)
    }
}

impl Wire for KeyParams {
    const MIN_LEN: usize = 2;

    fn encode(&self, out: &mut Writer) {
        let (discriminant, size) = match self {
            Self::Rsa { bits } => (0, bits),
            Self::Ec { curve } => (1, curve),
        };
        out.put_varint(discriminant);
        size.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.take_discriminant()? {
            0 => u16::decode(input).map(|bits| Self::Rsa { bits }),
            1 => u16::decode(input).map(|curve| Self::Ec { curve }),
            value => Err(DecodeError::UnknownVariant {
                what: "key type",
                value,
            }),
        }
    }
}

impl Wire for Request {
    const MIN_LEN: usize = 2;

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Extension(frame) => {
                out.put_varint(EXTENSION.into());
                frame.encode(out);
            }
            Self::Explained(request) => {
                out.put_varint(EXPLAINED.into());
                Wire::encode(&**request, out);
            }
            _ => {
                out.put_varint(VERSION_1.into());
                self.encode_v1(out);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.take_discriminant()? {
            EXPLAINED => {
                let outer = input.take_discriminant()?;
                Self::decode_plain(outer, input)
                    .map(Box::new)
                    .map(Self::Explained)
            }
            outer => Self::decode_plain(outer, input),
        }
    }
}

impl Request {
    fn decode_plain(outer: u32, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match outer {
            VERSION_1 => Self::decode_v1(input),
            EXTENSION => ExtensionRequest::decode(input).map(Self::Extension),
            other => Err(DecodeError::UnknownVersion(other)),
        }
    }
}

impl Wire for Response {
    const MIN_LEN: usize = 2;

    fn encode(&self, out: &mut Writer) {
        if let Self::Extension(frame) = self {
            out.put_varint(EXTENSION.into());
            return frame.encode(out);
        }
        out.put_varint(VERSION_1.into());
        self.encode_v1(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.take_discriminant()? {
            VERSION_1 => Self::decode_v1(input),
            EXTENSION => ExtensionResponse::decode(input).map(Self::Extension),
            other => Err(DecodeError::UnknownVersion(other)),
        }
    }
}

wire_frames! {
    Request {
        1 => ChooseScheme(ChooseScheme),
        2 => Sign(Sign),
        5 => SignWithScheme(SignWithScheme),
        6 => PublicKeyPem(Option<String>),
        8 => Ping,
        10 => CreateKey(CreateKey),
        12 => TokensUris,
        14 => InitToken(InitToken),
        16 => ListTokens,
        18 => ChangePin(ChangePin),
        20 => DeleteKey(DeleteKey),
        22 => ListKeys(ListKeys),
    }
}

wire_frames! {
    Response {
        0 => Error(String),
        3 => ChosenScheme(ChosenScheme),
        4 => Signature(Bytes),
        7 => PublicKeyPem(String),
        9 => Pong,
        11 => CreatedKey(CreatedKey),
        13 => TokensUris(Vec<String>),
        15 => InitToken(String),
        17 => Tokens(Vec<TokenEntry>),
        19 => ChangePin(String),
        21 => DeletedKeys(Vec<String>),
        23 => Keys(Vec<KeyEntry>),
    }
}

/// Outer discriminant of thin-edge.io's protocol version 1.
const VERSION_1: u32 = 0;
/// Outer discriminant of this project's frames, far from any version that may follow.
const EXTENSION: u32 = 112;
/// Outer discriminant of a request whose failure is to be explained to a program.
const EXPLAINED: u32 = 113;
/// The schemes of protocol version 1, at their discriminants.
const V1_SCHEMES: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_SECP256R1_SHA256,
    SignatureScheme::ECDSA_SECP384R1_SHA384,
    SignatureScheme::ECDSA_SECP521R1_SHA512,
    SignatureScheme::RSA_PSS_RSAE_SHA256,
    SignatureScheme::RSA_PKCS1_SHA256,
];
