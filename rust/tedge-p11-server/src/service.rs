//! From a request to a call on the module, and back to a response.

use std::sync::{Mutex, MutexGuard, PoisonError};

use der::pem::{LineEnding, encode_string};
use tedge_p11_protocol::{
    ChosenScheme, CreatedKey, ExtensionRequest, ExtensionResponse, KeyEntry, KeyParams, KeySpec,
    Pin, PinSource, PublicKey, Request, Response, SignatureAlgorithm, TokenEntry, Uri, hex,
};
use tedge_p11_token::{
    Error, KeyInfo, KeyObject, KeySelector, Module, NewKey, NewToken, PinChange,
};

/// Answers requests with the keys of one module, within what the operator configured.
#[derive(Debug)]
pub(crate) struct Service {
    module: Module,
    uri: Option<Uri>,
    pin: Mutex<Option<Pin>>,
}

/// An answer, or what went wrong in words for a person.
pub(crate) type Answer = Result<Response, String>;

impl Service {
    /// `uri` confines every request, `pin` serves those that bring none.
    pub(crate) fn new(module: Module, uri: Option<Uri>, pin: Option<Pin>) -> Self {
        Self {
            module,
            uri,
            pin: Mutex::new(pin),
        }
    }

    /// The answer to a request that concerns no token.
    pub(crate) fn answer_at_once(request: &Request) -> Option<Response> {
        match request {
            Request::Ping => Some(Response::Pong),
            Request::Extension(ExtensionRequest::Hello) => {
                Some(Response::Extension(ExtensionResponse::Hello))
            }
            _ => None,
        }
    }

    /// Answers one request. Blocks for as long as the token takes.
    pub(crate) fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Ping => Ok(Response::Pong),
            Request::ChooseScheme(r) => {
                let target = self.target(r.uri, r.pin)?;
                let schemes = self
                    .module
                    .schemes(&target.key(), target.pin())
                    .map_err(text)?;
                let algorithm = schemes.iter().find_map(|scheme| scheme.algorithm());
                Ok(Response::ChosenScheme(ChosenScheme {
                    scheme: schemes.into_iter().find(|s| r.offered.contains(s)),
                    // A key has at least one scheme, all of one algorithm.
                    algorithm: algorithm.unwrap_or(SignatureAlgorithm(0)).0,
                }))
            }
            Request::Sign(r) => self.sign(r.uri, r.pin, None, &r.to_sign.0),
            Request::SignWithScheme(r) => {
                let scheme = r.scheme.map(tedge_p11_protocol::V1Scheme::get);
                self.sign(r.uri, r.pin, scheme, &r.to_sign.0)
            }
            Request::PublicKeyPem(uri) => {
                let target = self.target(uri, None)?;
                let key = self
                    .module
                    .public_key(&target.key(), target.pin())
                    .map_err(text)?;
                Ok(Response::PublicKeyPem(v1_pem(&key)?))
            }
            Request::CreateKey(r) => {
                let spec = key_spec(r.params.key)?;
                let id = r.params.id.map(|id| id.0);
                let key = self.create_key(Some(r.uri), r.pin, spec, r.params.label, id)?;
                Ok(Response::CreatedKey(CreatedKey {
                    pem: v1_pem(&key.public_key)?,
                    uri: key.uri.to_string(),
                }))
            }
            Request::TokensUris => {
                let tokens = self.module.tokens().map_err(text)?;
                let initialized = tokens.iter().filter(|token| token.initialized);
                Ok(Response::TokensUris(
                    initialized.map(|token| token.uri.to_string()).collect(),
                ))
            }
            Request::ListTokens => {
                let tokens = self.module.tokens().map_err(text)?;
                Ok(Response::Tokens(
                    tokens.into_iter().map(token_entry).collect(),
                ))
            }
            Request::InitToken(r) => self.init_token(r),
            Request::ChangePin(r) => self.change_pin(r),
            Request::DeleteKey(r) => {
                let target = self.target(Some(r.uri), r.pin)?;
                let uri = target.uri.as_ref().ok_or("a key to delete must be named")?;
                let deleted = self.module.delete_key(uri, target.pin()).map_err(text)?;
                Ok(Response::DeletedKeys(strings(&deleted)))
            }
            Request::ListKeys(r) => {
                let target = self.target(r.uri, r.pin)?;
                let uri = target.uri.clone().unwrap_or_default();
                let keys = self
                    .module
                    .keys_on_token(&uri, target.pin())
                    .map_err(text)?;
                Ok(Response::Keys(keys.into_iter().map(key_entry).collect()))
            }
            Request::Extension(request) => self.answer_extension(request),
        }
    }

    /// What a request is called in the log.
    pub(crate) fn name(request: &Request) -> &'static str {
        match request {
            Request::ChooseScheme(_) => "choose-scheme",
            Request::Sign(_)
            | Request::SignWithScheme(_)
            | Request::Extension(ExtensionRequest::Sign(_)) => "sign",
            Request::PublicKeyPem(_) => "public-key",
            Request::Ping | Request::Extension(ExtensionRequest::Hello) => "ping",
            Request::CreateKey(_) | Request::Extension(ExtensionRequest::CreateKey(_)) => {
                "create-key"
            }
            Request::TokensUris => "tokens-uris",
            Request::InitToken(_) => "init-token",
            Request::ListTokens => "list-tokens",
            Request::ChangePin(_) => "change-pin",
            Request::DeleteKey(_) => "delete-key",
            Request::ListKeys(_) => "list-keys",
            Request::Extension(ExtensionRequest::KeyInfo(_)) => "key-info",
        }
    }

    /// Ends the use of the module.
    pub(crate) fn finalize(self) {
        self.module.finalize();
    }

    fn answer_extension(&self, request: ExtensionRequest) -> Answer {
        match request {
            ExtensionRequest::Hello => Ok(Response::Extension(ExtensionResponse::Hello)),
            ExtensionRequest::KeyInfo(r) => {
                let target = self.target(r.uri, r.pin)?;
                let key = self
                    .module
                    .key_info(&target.key(), target.pin())
                    .map_err(text)?;
                Ok(key_info(key))
            }
            ExtensionRequest::Sign(r) => self.sign(r.uri, r.pin, Some(r.scheme), &r.to_sign.0),
            ExtensionRequest::CreateKey(r) => {
                let id = r.id.map(|id| id.0);
                let key = self.create_key(r.uri, r.pin, r.key, r.label, id)?;
                Ok(key_info(key))
            }
        }
    }

    fn sign(
        &self,
        uri: Option<String>,
        pin: Option<Pin>,
        scheme: Option<tedge_p11_protocol::SignatureScheme>,
        message: &[u8],
    ) -> Answer {
        let target = self.target(uri, pin)?;
        let signature = self
            .module
            .sign(&target.key(), target.pin(), scheme, message)
            .map_err(text)?;
        Ok(Response::Signature(signature.into()))
    }

    fn create_key(
        &self,
        uri: Option<String>,
        pin: Option<Pin>,
        spec: KeySpec,
        label: String,
        id: Option<Vec<u8>>,
    ) -> Result<KeyInfo, String> {
        let target = self.target(uri, pin)?;
        let token = target.uri.as_ref().map(Uri::token_part).unwrap_or_default();
        let new = NewKey { spec, label, id };
        let key = self
            .module
            .create_key(&token, target.pin(), &new)
            .map_err(text)?;
        log::info!("created key {}", key.uri);
        Ok(key)
    }

    fn init_token(&self, r: tedge_p11_protocol::InitToken) -> Answer {
        if let Some(Uri {
            token: Some(only), ..
        }) = &self.uri
        {
            if *only != r.label {
                return Err(format!(
                    "this signer is confined to the token labelled \"{only}\"; \
                     it initialises no other"
                ));
            }
        }
        let target = self.target(r.uri, r.pin)?;
        let so_pin = r
            .so_pin
            .ok_or("a PIN for the security officer is needed to initialise a token")?;
        let pin = target
            .pin
            .clone()
            .ok_or("a PIN for the user is needed to initialise a token")?;
        let new = NewToken {
            label: r.label,
            so_pin,
            pin,
        };
        let token = target.uri.as_ref().map(Uri::token_part).unwrap_or_default();
        let uri = self.module.init_token(&token, &new).map_err(text)?;
        log::info!("initialised token {uri}");
        Ok(Response::InitToken(uri.to_string()))
    }

    fn change_pin(&self, r: tedge_p11_protocol::ChangePin) -> Answer {
        let target = self.target(r.uri, r.old_pin)?;
        let old = target.pin.clone();
        let change = if r.reset {
            let so_pin = r
                .so_pin
                .ok_or("resetting the PIN needs the security officer's PIN")?;
            PinChange::SecurityOfficer { so_pin }
        } else {
            let old = target
                .pin
                .clone()
                .ok_or("changing the PIN needs the old PIN")?;
            PinChange::User { old }
        };
        let token = target.uri.as_ref().map(Uri::token_part).unwrap_or_default();
        let uri = self
            .module
            .change_pin(&token, &change, &r.new_pin)
            .map_err(text)?;
        log::info!("changed the PIN of token {uri}");
        let mut configured = self.configured_pin();
        if configured.is_some() && *configured == old {
            log::warn!("the configured PIN is out of date now; configure the new one");
            *configured = Some(r.new_pin);
        }
        drop(configured);
        Ok(Response::ChangePin(uri.to_string()))
    }

    fn configured_pin(&self) -> MutexGuard<'_, Option<Pin>> {
        self.pin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request speaks of: its own URI confined to the configured one, and the PIN from the
    /// request, else from its URI, else from the configuration.
    fn target(&self, uri: Option<String>, pin: Option<Pin>) -> Result<Target, String> {
        let uri = uri.filter(|uri| !uri.is_empty());
        if uri.as_ref().is_some_and(|uri| uri.len() > MAX_URI_LEN) {
            return Err(format!("a PKCS#11 URI of more than {MAX_URI_LEN} bytes"));
        }
        let mut uri = uri
            .map(|uri| uri.parse::<Uri>())
            .transpose()
            .map_err(|error| error.to_string())?;
        let uri_pin = match uri.as_mut().and_then(|uri| uri.pin.take()) {
            Some(PinSource::Value(pin)) => Some(pin),
            // The file would be read with the signer's rights, not with the client's.
            Some(PinSource::File(_)) => {
                return Err("pin-source is not taken from clients; send the PIN itself".to_owned());
            }
            None => None,
        };
        let uri = match (uri, &self.uri) {
            (Some(uri), Some(configured)) => Some(uri.confined_to(configured)),
            (uri, configured) => uri.or_else(|| configured.clone()),
        };
        let pin = pin.or(uri_pin).or_else(|| self.configured_pin().clone());
        Ok(Target { uri, pin })
    }
}

/// Longer than any that means something; errors repeat URIs.
const MAX_URI_LEN: usize = 2048;

/// What a request speaks of.
struct Target {
    uri: Option<Uri>,
    pin: Option<Pin>,
}

impl Target {
    fn key(&self) -> KeySelector {
        self.uri
            .clone()
            .map_or(KeySelector::First, KeySelector::Uri)
    }

    fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }
}

/// What the frames of version 1 call a public key: deployed clients put this content into a CSR as
/// `subjectPublicKey`, so it must be the bare key, although the label promises more.
fn v1_pem(key: &PublicKey) -> Result<String, String> {
    encode_string("PUBLIC KEY", LineEnding::LF, key.raw()).map_err(|error| error.to_string())
}

fn key_spec(params: KeyParams) -> Result<KeySpec, String> {
    Ok(match params {
        KeyParams::Ec { curve: 256 } => KeySpec::EcP256,
        KeyParams::Ec { curve: 384 } => KeySpec::EcP384,
        KeyParams::Ec { curve: 521 } => KeySpec::EcP521,
        KeyParams::Rsa { bits: 2048 } => KeySpec::Rsa2048,
        KeyParams::Rsa { bits: 3072 } => KeySpec::Rsa3072,
        KeyParams::Rsa { bits: 4096 } => KeySpec::Rsa4096,
        KeyParams::Ec { curve } => {
            return Err(format!("an EC key has 256, 384 or 521 bits, not {curve}"));
        }
        KeyParams::Rsa { bits } => {
            return Err(format!(
                "an RSA key has 2048, 3072 or 4096 bits, not {bits}"
            ));
        }
    })
}

fn key_info(key: KeyInfo) -> Response {
    Response::Extension(ExtensionResponse::KeyInfo(tedge_p11_protocol::KeyInfo {
        uri: key.uri.to_string(),
        spki: key.public_key.spki().to_vec().into(),
        schemes: key.schemes,
    }))
}

fn token_entry(token: tedge_p11_token::TokenInfo) -> TokenEntry {
    TokenEntry {
        slot: token.slot,
        label: token.label,
        model: token.model,
        manufacturer: token.manufacturer,
        serial: token.serial,
        initialized: token.initialized,
        uri: token.uri.to_string(),
    }
}

fn key_entry(key: KeyObject) -> KeyEntry {
    KeyEntry {
        class: key.object_type.name().to_owned(),
        key_type: key.key_type,
        label: key.label,
        id: hex(&key.id),
        uri: key.uri.to_string(),
    }
}

fn strings(uris: &[Uri]) -> Vec<String> {
    uris.iter().map(ToString::to_string).collect()
}

#[allow(clippy::needless_pass_by_value)] // it is what map_err gives
fn text(error: Error) -> String {
    match error {
        Error::PinNeeded(token) => format!(
            "token {token} needs its user PIN and none is configured or sent; configure it with \
             --pin, TEDGE_DEVICE_CRYPTOKI_PIN, device.cryptoki.pin in tedge.toml, or pin-source= \
             in the URI"
        ),
        error => error.to_string(),
    }
}
