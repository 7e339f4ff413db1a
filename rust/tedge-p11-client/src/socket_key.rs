//! A private key behind the signer's socket.

use tedge_p11_protocol::{
    ExtensionRequest, ExtensionResponse, ExtensionSign, KeyInfoRequest, Pin, PublicKey, Request,
    Response, SignDigest, SignWithScheme, SignatureScheme, Uri, V1Scheme,
};

use crate::client::{Client, answered, text, user_pin};
use crate::error::Error;
use crate::key::PrivateKey;

/// A private key behind the signer's socket. What it can do is asked for once, when it is opened;
/// each signature is one request.
#[derive(Debug)]
pub struct SocketKey {
    client: Client,
    /// As it was asked for: the signer's own URI wins, and thin-edge.io's has no other way.
    request_uri: Option<String>,
    uri: Uri,
    pin: Option<Pin>,
    public_key: PublicKey,
    schemes: Vec<SignatureScheme>,
    /// Whether the signer answered a frame of ours.
    extended: bool,
    /// Whether this client may have digests signed.
    digests: bool,
}

impl SocketKey {
    /// Finds the key that `uri` leaves, together with the URI configured at the signer. The user PIN is `pin`,
    /// or that of the URI, or the configured one of the signer.
    pub fn open(client: Client, uri: &Uri, pin: Option<Pin>) -> Result<Self, Error> {
        let pin = match pin {
            Some(pin) => Some(pin),
            None => user_pin(uri, None)?,
        };
        if !client.does_explain()? && !client.knows_extension()? {
            return Self::open_v1(client, uri, pin);
        }
        let request = KeyInfoRequest {
            uri: text(uri),
            pin: pin.clone(),
        };
        let request = if client.does_explain()? {
            ExtensionRequest::KeyUse(request)
        } else {
            ExtensionRequest::KeyInfo(request)
        };
        let (info, digests) = match client.request(&Request::Extension(request))? {
            Response::Extension(ExtensionResponse::KeyInfo(info)) => (info, false),
            Response::Extension(ExtensionResponse::KeyUse(key)) => (key.info, key.digests),
            _ => return Err(Error::Unexpected),
        };
        Ok(Self {
            client,
            request_uri: text(uri),
            uri: answered(info.uri)?,
            pin,
            public_key: PublicKey::from_spki(&info.spki.0).ok_or(Error::UnknownKey)?,
            schemes: info.schemes,
            extended: true,
            digests,
        })
    }

    fn open_v1(client: Client, uri: &Uri, pin: Option<Pin>) -> Result<Self, Error> {
        let public_key = client.public_key(uri)?;
        Ok(Self {
            client,
            uri: uri.clone(),
            request_uri: text(uri),
            pin,
            schemes: v1_schemes(&public_key),
            public_key,
            extended: false,
            digests: false,
        })
    }

    /// Whether this user may have digests signed that the program made: the policy's purpose `digest`. Known of a
    /// client that has failures [explained](Client::explained) only.
    #[must_use]
    pub fn signs_digests(&self) -> bool {
        self.digests
    }

    /// Signs a digest as [`PrivateKey::sign`] signs that of a message. For ECDSA the digest may be one of SHA-256,
    /// SHA-384 or SHA-512, whatever the scheme's.
    pub fn sign_digest(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let request = Request::Extension(ExtensionRequest::SignDigest(SignDigest {
            digest: digest.to_vec().into(),
            uri: self.request_uri.clone(),
            scheme,
            pin: self.pin.clone(),
        }));
        match self.client.request(&request)? {
            Response::Signature(signature) => Ok(signature.0),
            _ => Err(Error::Unexpected),
        }
    }

    fn sign_request(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Request, Error> {
        let to_sign = message.to_vec().into();
        let (uri, pin) = (self.request_uri.clone(), self.pin.clone());
        // Version 1 where it can say what is meant: both signers take it.
        if let Some(scheme) = V1Scheme::new(scheme) {
            return Ok(Request::SignWithScheme(SignWithScheme {
                to_sign,
                uri,
                scheme: Some(scheme),
                pin,
            }));
        }
        if !self.extended {
            return Err(Error::UnsupportedScheme(scheme));
        }
        Ok(Request::Extension(ExtensionRequest::Sign(ExtensionSign {
            to_sign,
            uri,
            scheme,
            pin,
        })))
    }
}

impl PrivateKey for SocketKey {
    fn uri(&self) -> &Uri {
        &self.uri
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        if !self.schemes.contains(&scheme) {
            return Err(Error::UnsupportedScheme(scheme));
        }
        match self.client.request(&self.sign_request(scheme, message)?)? {
            Response::Signature(signature) => Ok(signature.0),
            _ => Err(Error::Unexpected),
        }
    }
}

/// What a signer of version 1 can do with a key: the schemes that its frame can name.
fn v1_schemes(key: &PublicKey) -> Vec<SignatureScheme> {
    match key.raw().len() {
        65 => vec![SignatureScheme::ECDSA_SECP256R1_SHA256],
        97 => vec![SignatureScheme::ECDSA_SECP384R1_SHA384],
        133 => vec![SignatureScheme::ECDSA_SECP521R1_SHA512],
        32 => vec![],
        _ => vec![
            SignatureScheme::RSA_PSS_RSAE_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
        ],
    }
}
