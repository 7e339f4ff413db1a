//! A private key on a token, found and ready to sign.

use std::sync::{Arc, OnceLock};

use cryptoki::error::Error as CryptokiError;
use cryptoki::object::{ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tedge_p11_protocol::{PublicKey, SignatureScheme, Uri};

use crate::access::SignatureCheck;
use crate::call_error::CallError;
use crate::error::{Error, Result};
use crate::key_kind::KeyKind;
use crate::mechanism::Recipe;
use crate::object::find;
use crate::pins::GivenPin;
use crate::public_key;
use crate::signature::ecdsa_to_der;
use crate::token::Token;

/// All there is to know of a private key without its secret.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    /// URI that names this key and no other.
    pub uri: Uri,
    /// Its public key.
    pub public_key: PublicKey,
    /// What it can sign with, in the order that a TLS 1.3 client prefers. Never empty.
    pub schemes: Vec<SignatureScheme>,
}

/// What is to be signed.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    /// A message, which is hashed here.
    Message(&'a [u8]),
    /// A digest that somebody else made.
    Digest(&'a [u8]),
}

/// A private key whose handle is kept. PKCS#11 handles of token objects are good in every session of
/// the process (PKCS#11 3.0, section 2.5), as long as one session stays open.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) token: Arc<Token>,
    pub(crate) handle: ObjectHandle,
    /// Of the token, when the handle was found.
    pub(crate) generation: u64,
    pub(crate) uri: Uri,
    pub(crate) kind: KeyKind,
    /// `CKA_ALWAYS_AUTHENTICATE`: each signature takes a login of its own.
    pub(crate) always_authenticate: bool,
    pub(crate) recipes: Vec<(SignatureScheme, Recipe)>,
    pub(crate) choice: Choice,
    pub(crate) public_key: OnceLock<PublicKey>,
}

/// Why it is this key.
#[derive(Debug)]
pub(crate) enum Choice {
    /// The URI leaves no other.
    Only,
    /// It is chosen by the installed certificate, which was for this public key; by another rule where there was none.
    ByCertificate(Option<PublicKey>),
}

impl Key {
    /// Signs `content` with `scheme`, or with the scheme that the key prefers. ECDSA signatures
    /// come as DER, others raw.
    pub(crate) fn sign(
        &self,
        pin: Option<GivenPin<'_>>,
        scheme: Option<SignatureScheme>,
        content: Content<'_>,
        check: SignatureCheck<'_>,
    ) -> Result<Vec<u8>> {
        let recipe = match scheme {
            None => self.recipes.first(),
            Some(wanted) => self.recipes.iter().find(|(scheme, _)| *scheme == wanted),
        };
        let Some((scheme, recipe)) = recipe else {
            return Err(Error::UnsupportedScheme {
                key: self.uri.clone(),
                scheme: scheme.unwrap_or(SignatureScheme(0)),
                schemes: self.schemes(),
            });
        };
        let public_key = match self.public_key(pin) {
            Ok(public_key) => Some(public_key),
            Err(Error::NoPublicKey(_) | Error::SeveralPublicKeys(_)) => None,
            Err(error) => return Err(error),
        };
        check(&self.uri, *scheme, public_key).map_err(Error::Refused)?;
        let (mechanism, data) = match content {
            Content::Message(message) => recipe.prepare(message),
            Content::Digest(digest) => {
                recipe
                    .prepare_digest(digest)
                    .ok_or_else(|| Error::NotADigest {
                        key: self.uri.clone(),
                        scheme: *scheme,
                        len: digest.len(),
                    })?
            }
        };
        let named = |error: CryptokiError| Error::from(CallError::new(error, &self.uri));
        let signature = if self.always_authenticate {
            self.token.with_login_for_use(
                pin,
                self.generation,
                |session| session.sign_init(&mechanism, self.handle).map_err(named),
                // There is no C_Sign without C_SignInit in cryptoki.
                |session| {
                    let whole = session.sign_update(&data);
                    whole.and_then(|()| session.sign_final()).map_err(named)
                },
            )?
        } else {
            self.with_session(pin, |session| {
                let signature = session.sign(&mechanism, self.handle, &data);
                signature.map_err(named)
            })?
        };
        self.token.note_success();
        match self.kind {
            KeyKind::Ec(curve) => {
                ecdsa_to_der(&signature, curve.field_len()).ok_or_else(|| Error::Malformed {
                    token: self.token.uri(),
                    what: "ECDSA signature",
                })
            }
            KeyKind::MlDsa(set) if signature.len() != set.signature_len() => {
                Err(Error::Malformed {
                    token: self.token.uri(),
                    what: "ML-DSA signature",
                })
            }
            KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::MlDsa(_) => Ok(signature),
        }
    }

    /// Runs `operation` in a session in which the handle is good.
    pub(crate) fn with_session<T>(
        &self,
        pin: Option<GivenPin<'_>>,
        operation: impl FnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        self.token.with_session(pin, self.generation, operation)
    }

    /// Whether the handle is still good.
    pub(crate) fn is_current(&self) -> bool {
        self.token.is_current(self.generation)
    }

    pub(crate) fn schemes(&self) -> Vec<SignatureScheme> {
        self.recipes.iter().map(|(scheme, _)| *scheme).collect()
    }

    pub(crate) fn info(&self, pin: Option<GivenPin<'_>>) -> Result<KeyInfo> {
        if !self.is_current() {
            return Err(Error::Outdated);
        }
        Ok(KeyInfo {
            uri: self.uri.clone(),
            public_key: self.public_key(pin)?.clone(),
            schemes: self.schemes(),
        })
    }

    /// Read from the token once.
    fn public_key(&self, pin: Option<GivenPin<'_>>) -> Result<&PublicKey> {
        if let Some(known) = self.public_key.get() {
            return Ok(known);
        }
        let read = self
            .token
            .search(pin, Some(self.generation), |session, _| {
                read_public_key(session, self)
            })?;
        Ok(self.public_key.get_or_init(|| read))
    }
}

/// The public key that belongs to a private one: of the private key object itself where the module
/// allows, otherwise of the public key objects with the same id and label, or else the same id. They
/// must agree.
pub(crate) fn read_public_key(session: &Session, key: &Key) -> Result<PublicKey> {
    let read = |object| {
        public_key::read(session, object, key.kind).map_err(|error| key.token.error(error))
    };
    if let Some(own) = read(key.handle)? {
        return Ok(own);
    }
    let same_name = Uri {
        id: key.uri.id.clone(),
        object: key.uri.object.clone(),
        ..Uri::default()
    };
    let same_id = Uri {
        object: None,
        ..same_name.clone()
    };
    for wanted in [same_name, same_id] {
        if !wanted.names_object() {
            continue;
        }
        let mut found = Vec::new();
        for object in find(&key.token, session, ObjectClass::PUBLIC_KEY, &wanted)? {
            found.extend(read(object)?);
        }
        found.dedup();
        match found.len() {
            0 => {}
            1 => return Ok(found.remove(0)),
            _ => return Err(Error::SeveralPublicKeys(key.uri.clone())),
        }
    }
    Err(Error::NoPublicKey(key.uri.clone()))
}
