//! Signing with keys and describing them, by their URIs.

use std::sync::Arc;

use tedge_p11_protocol::{ObjectType, PublicKey, SignatureScheme, Uri};

use crate::access::{Access, SignatureCheck};
use crate::error::{Error, Result};
use crate::find;
use crate::key::{Choice, Content, Key, KeyInfo};
use crate::module::Module;
use crate::object::{CLASSES, KeyObject, check_type, describe, find};
use crate::selector::KeySelector;

impl Module {
    /// Signs `message` with the selected key, with `scheme` or with the scheme that the key prefers,
    /// if `check` has nothing against it. ECDSA signatures come as DER `ECDSA-Sig-Value`, others raw.
    pub fn sign(
        &self,
        key: &KeySelector,
        access: Access<'_>,
        scheme: Option<SignatureScheme>,
        message: &[u8],
        check: SignatureCheck<'_>,
    ) -> Result<Vec<u8>> {
        self.with_key(key, access, |key| {
            key.sign(access.pin, scheme, Content::Message(message), &mut *check)
        })
    }

    /// Signs a digest that the caller made, as [`sign`](Self::sign) does with the digest of a message. What it is
    /// the digest of, nobody here can tell.
    pub fn sign_digest(
        &self,
        key: &KeySelector,
        access: Access<'_>,
        scheme: SignatureScheme,
        digest: &[u8],
        check: SignatureCheck<'_>,
    ) -> Result<Vec<u8>> {
        self.with_key(key, access, |key| {
            key.sign(
                access.pin,
                Some(scheme),
                Content::Digest(digest),
                &mut *check,
            )
        })
    }

    /// The selected key's URI and its schemes, in the order that a TLS 1.3 client prefers.
    pub fn schemes(
        &self,
        key: &KeySelector,
        access: Access<'_>,
    ) -> Result<(Uri, Vec<SignatureScheme>)> {
        self.with_key(key, access, |key| {
            // Nothing of a key is told to who could not use it.
            key.with_session(access.pin, |_| Ok(()))?;
            Ok((key.uri.clone(), key.schemes()))
        })
    }

    /// The selected key's URI, public key and schemes. Looks the key up anew, and so sees whether the
    /// selector still leaves one key only.
    pub fn key_info(&self, key: &KeySelector, access: Access<'_>) -> Result<KeyInfo> {
        self.attempt(|| self.find_key(key, access)?.info(access.pin))
    }

    /// URI and value of the public key that `key` names, of a public key object if there is one (that
    /// takes no login on most tokens), otherwise of the private key.
    pub fn public_key(&self, key: &KeySelector, access: Access<'_>) -> Result<(Uri, PublicKey)> {
        if let KeySelector::Uri(uri) = key {
            // A token's URI may leave a public key that belongs to no private one.
            if uri.names_object() {
                let found = self.attempt(|| public_object(self, uri))?;
                if let Some(found) = found {
                    return Ok(found);
                }
            }
        }
        self.key_info(key, access)
            .map(|info| (info.uri, info.public_key))
    }

    /// The key objects that `uri` leaves on the token that it names. Private ones are listed when
    /// the token shows them without a login or the PIN opens it.
    pub fn keys_on_token(&self, uri: &Uri, access: Access<'_>) -> Result<Vec<KeyObject>> {
        self.attempt(|| {
            let token = self.token(uri)?;
            access.check(&token.uri())?;
            let mut keys = Vec::new();
            for (object_type, class) in CLASSES {
                if uri.object_type.is_some_and(|wanted| wanted != object_type) {
                    continue;
                }
                let found = token.search(access.pin, None, |session, _| {
                    let handles = find(&token, session, class, uri)?;
                    handles
                        .into_iter()
                        .map(|handle| describe(&token, session, handle, object_type))
                        .collect::<Result<Vec<_>>>()
                })?;
                keys.extend(found.into_iter().map(|object| object.listed));
            }
            Ok(keys)
        })
    }

    /// Finds a key, or takes the one found before, and runs `operation` on it.
    fn with_key<T>(
        &self,
        selector: &KeySelector,
        access: Access<'_>,
        mut operation: impl FnMut(&Key) -> Result<T>,
    ) -> Result<T> {
        let cache_key = selector.cache_key();
        self.attempt(|| {
            let known = self.kept_keys().get(&cache_key).cloned();
            let key = match known.filter(|key| key.is_current() && self.is_chosen(key)) {
                Some(key) => {
                    access.check_key(&key.uri)?;
                    key
                }
                None => self.find_key(selector, access)?,
            };
            operation(&key)
        })
    }

    /// Whether the key would be chosen now.
    fn is_chosen(&self, key: &Key) -> bool {
        match &key.choice {
            Choice::Only => true,
            Choice::ByCertificate(then) => self.installed().public_key().ok() == *then,
        }
    }

    fn find_key(&self, selector: &KeySelector, access: Access<'_>) -> Result<Arc<Key>> {
        let key = Arc::new(private_key(self, selector, access)?);
        let mut keys = self.kept_keys();
        // Clients choose the selectors: what they can fill is bounded.
        if keys.len() >= MAX_KEPT_KEYS {
            keys.clear();
        }
        keys.insert(selector.cache_key(), key.clone());
        Ok(key)
    }
}

/// The private key that `selector` names.
fn private_key(module: &Module, selector: &KeySelector, access: Access<'_>) -> Result<Key> {
    match selector {
        KeySelector::Uri(uri) => {
            check_type(uri, &[ObjectType::Private], "type=private")?;
            let token = module.token(uri)?;
            access.check(&token.uri())?;
            token.search(access.pin, None, |session, generation| {
                find::named(&token, session, generation, uri, access, module.installed())
            })
        }
        KeySelector::First => {
            let tokens = module.matching_tokens(&Uri::default())?;
            // Which of them the PIN belongs to can't be guessed without spending tries.
            if tokens.len() > 1 && tokens.iter().any(|token| token.info().login_required) {
                return Err(Error::SeveralTokens {
                    uri: Uri::default(),
                    tokens: tokens.iter().map(|token| token.uri()).collect(),
                });
            }
            let installed = module.installed();
            let certificate = installed.public_key();
            if certificate.is_ok() {
                for token in &tokens {
                    if access.check(&token.uri()).is_err() {
                        continue;
                    }
                    let found = token.search(access.pin, None, |session, generation| {
                        find::of_certificate(
                            token,
                            session,
                            generation,
                            access,
                            installed,
                            &certificate,
                        )
                    })?;
                    if let Some(key) = found {
                        return Ok(key);
                    }
                }
            }
            let mut refused = None;
            for token in tokens {
                if let Err(error) = access.check(&token.uri()) {
                    refused = Some(error);
                    continue;
                }
                let found = token.search(access.pin, None, |session, generation| {
                    find::first(&token, session, generation, access, &certificate)
                })?;
                if let Some(key) = found {
                    if module.first_key_warning.is_due() {
                        log::warn!(
                            "no URI configured or sent: taking the first key, {}",
                            key.uri
                        );
                    }
                    return Ok(key);
                }
            }
            Err(refused.unwrap_or(Error::NoKeyAtAll))
        }
    }
}

/// The public key of the one public key object that `uri` leaves, if there is any.
fn public_object(module: &Module, uri: &Uri) -> Result<Option<(Uri, PublicKey)>> {
    let keys = [ObjectType::Private, ObjectType::Public];
    check_type(uri, &keys, "type=private or type=public")?;
    find::public_object(&*module.token(uri)?, uri, module.installed())
}

const MAX_KEPT_KEYS: usize = 256;
