//! One request, from frame to call on the module and back.

use std::cell::RefCell;

use der::pem::{LineEnding, encode_string};
use tedge_p11_config::Operation;
use tedge_p11_protocol::{
    ChangePin, ChosenScheme, CreatedKey, ExtensionRequest, ExtensionResponse, InitToken, KeyEntry,
    KeyParams, KeySpec, Pin, PublicKey, Request, Response, SignatureAlgorithm, SignatureScheme,
    TokenEntry, Uri, V1Scheme, hex,
};
use tedge_p11_purpose::recognize;
use tedge_p11_token::{KeyInfo, KeyObject, Module, NewKey, NewToken, PinChange, TokenInfo};

use super::certificates;
use super::failure::Failure;
use super::record::Record;
use super::request::uri;
use super::rights::Rights;

/// The response, and the configured PIN's successor if a client changed it on the configured token.
pub(super) type Answer = Result<(Response, Option<Pin>), Failure>;

/// One request on its way.
pub(super) struct Handler<'a> {
    pub(super) module: &'a Module,
    pub(super) rights: Rights<'a>,
}

impl Handler<'_> {
    pub(super) fn handle(&self, request: Request, record: &mut Record) -> Answer {
        if let Some(operation) = self.rights.operation {
            if let Err(refusal) = self.rights.policy().check(self.rights.peer, operation) {
                // The journal tells what it was about.
                let target = self.rights.configuration.target(uri(&request), None);
                record.key = target.ok().map(|target| target.uri());
                return Err(refusal.into());
            }
        }
        let signed = match request {
            Request::Sign(r) => self.sign(r.uri.as_deref(), r.pin, None, &r.to_sign.0, record),
            Request::SignWithScheme(r) => {
                let scheme = r.scheme.map(V1Scheme::get);
                self.sign(r.uri.as_deref(), r.pin, scheme, &r.to_sign.0, record)
            }
            other => return self.handle_rare(other, record),
        };
        Ok((signed?, None))
    }

    /// All but signatures. Not inlined: what it keeps on the stack would lie below every signature, in each
    /// thread.
    #[inline(never)]
    fn handle_rare(&self, request: Request, record: &mut Record) -> Answer {
        let response = match request {
            Request::Ping => Response::Pong,
            Request::ChooseScheme(r) => {
                let target = self.rights.target(r.uri.as_deref(), r.pin)?;
                let may_use = self.rights.token_check(&target);
                let access = target.access(&may_use);
                let (uri, schemes) = self.module.schemes(target.key(), access)?;
                record.key = Some(uri.clone());
                self.rights
                    .policy()
                    .check_key(self.rights.peer, Operation::Describe, &uri)?;
                let algorithm = schemes.iter().find_map(|scheme| scheme.algorithm());
                Response::ChosenScheme(ChosenScheme {
                    scheme: schemes.into_iter().find(|s| r.offered.contains(s)),
                    // A key has at least one scheme, all of one algorithm.
                    algorithm: algorithm.unwrap_or(SignatureAlgorithm(0)).0,
                })
            }
            Request::Sign(_) | Request::SignWithScheme(_) => return self.handle(request, record),
            Request::PublicKeyPem(uri) => {
                let target = self.rights.target(uri.as_deref(), None)?;
                let may_use = self.rights.token_check(&target);
                let access = target.access(&may_use);
                let (uri, key) = self.module.public_key(target.key(), access)?;
                record.key = Some(uri.clone());
                self.rights.check_private(Operation::Describe, uri)?;
                Response::PublicKeyPem(v1_pem(&key)?)
            }
            Request::CreateKey(r) => {
                let spec = key_spec(r.params.key)?;
                let id = r.params.id.map(|id| id.0);
                let key = self.create_key(Some(&r.uri), r.pin, spec, r.params.label, id, record)?;
                Response::CreatedKey(CreatedKey {
                    pem: v1_pem(&key.public_key)?,
                    uri: key.uri.to_string(),
                })
            }
            Request::TokensUris => {
                let tokens = self.module.tokens()?;
                let initialized = tokens.iter().filter(|token| token.initialized);
                Response::TokensUris(initialized.map(|token| token.uri.to_string()).collect())
            }
            Request::ListTokens => {
                let tokens = self.module.tokens()?;
                Response::Tokens(tokens.into_iter().map(token_entry).collect())
            }
            Request::InitToken(r) => self.init_token(r, record)?,
            Request::ChangePin(r) => return self.change_pin(r, record),
            Request::DeleteKey(r) => {
                let target = self.rights.target(Some(&r.uri), r.pin)?;
                let uri = target.uri();
                record.key = Some(uri.clone());
                let may_use = self.rights.token_check(&target);
                let deleted = self.module.delete_key(
                    &uri,
                    target.access(&may_use),
                    &self.rights.check(Operation::DeleteKey),
                )?;
                Response::DeletedKeys(deleted.iter().map(ToString::to_string).collect())
            }
            Request::ListKeys(r) => {
                let target = self.rights.target(r.uri.as_deref(), r.pin)?;
                let uri = target.uri();
                let mut entries = if certificates::are_asked_for(r.uri.as_deref()) {
                    certificates::list(self.module, &uri)?
                } else {
                    let may_use = self.rights.token_check(&target);
                    let access = target.access(&may_use);
                    let keys = self.module.keys_on_token(&uri, access)?.into_iter();
                    keys.map(key_entry).collect()
                };
                entries.retain(|(uri, _)| {
                    self.rights
                        .check_private(Operation::List, uri.clone())
                        .is_ok()
                });
                Response::Keys(entries.into_iter().map(|(_, entry)| entry).collect())
            }
            Request::Extension(request) => self.handle_extension(request, record)?,
        };
        Ok((response, None))
    }

    fn handle_extension(
        &self,
        request: ExtensionRequest,
        record: &mut Record,
    ) -> Result<Response, Failure> {
        match request {
            ExtensionRequest::Hello | ExtensionRequest::Status => Err(Failure::new(
                "this is answered without a call on the module",
            )),
            ExtensionRequest::KeyInfo(r) => {
                let target = self.rights.target(r.uri.as_deref(), r.pin)?;
                let may_use = self.rights.token_check(&target);
                let access = target.access(&may_use);
                let key = self.module.key_info(target.key(), access)?;
                record.key = Some(key.uri.clone());
                self.rights
                    .policy()
                    .check_key(self.rights.peer, Operation::Describe, &key.uri)?;
                Ok(key_info(key))
            }
            ExtensionRequest::Sign(r) => self.sign(
                r.uri.as_deref(),
                r.pin,
                Some(r.scheme),
                &r.to_sign.0,
                record,
            ),
            ExtensionRequest::CreateKey(r) => {
                let id = r.id.map(|id| id.0);
                let key = self.create_key(r.uri.as_deref(), r.pin, r.key, r.label, id, record)?;
                Ok(key_info(key))
            }
            ExtensionRequest::ReadCertificate(uri) => {
                certificates::read(self.module, &self.rights, uri.as_deref(), record)
            }
            ExtensionRequest::WriteCertificate(r) => {
                certificates::write(self.module, &self.rights, r, record)
            }
            ExtensionRequest::ChangeSoPin(r) => {
                let target = self.rights.target(r.uri.as_deref(), None)?;
                record.key = Some(target.token().clone());
                let check = self.rights.check(Operation::ChangePin);
                let uri =
                    self.module
                        .change_so_pin(target.token(), &r.old_pin, &r.new_pin, &check)?;
                record.key = Some(uri.clone());
                Ok(Response::Extension(ExtensionResponse::Done(
                    uri.to_string(),
                )))
            }
        }
    }

    fn sign(
        &self,
        uri: Option<&str>,
        pin: Option<Pin>,
        scheme: Option<SignatureScheme>,
        message: &[u8],
        record: &mut Record,
    ) -> Result<Response, Failure> {
        let target = self.rights.target(uri, pin)?;
        let seen = RefCell::new(record);
        let check = |key: &Uri, scheme, public_key: Option<&PublicKey>| {
            let mut record = seen.borrow_mut();
            record.key = Some(key.clone());
            record.scheme = Some(scheme);
            let decision = self
                .rights
                .policy()
                .check_signature(self.rights.peer, key, || {
                    let recognized = recognize(message, scheme, public_key);
                    record.purpose = Some(recognized);
                    recognized
                });
            decision.map_err(|refusal| refusal.to_string())
        };
        let may_use = self.rights.token_check(&target);
        let access = target.access(&may_use);
        let signature = self
            .module
            .sign(target.key(), access, scheme, message, &check)?;
        Ok(Response::Signature(signature.into()))
    }

    fn create_key(
        &self,
        uri: Option<&str>,
        pin: Option<Pin>,
        spec: KeySpec,
        label: String,
        id: Option<Vec<u8>>,
        record: &mut Record,
    ) -> Result<KeyInfo, Failure> {
        let target = self.rights.target(uri, pin)?;
        record.key = Some(target.token().clone());
        let new = NewKey { spec, label, id };
        let check = self.rights.check(Operation::CreateKey);
        let key = self
            .module
            .create_key(target.token(), target.pin(), &new, &check)?;
        record.key = Some(key.uri.clone());
        Ok(key)
    }

    fn init_token(&self, r: InitToken, record: &mut Record) -> Result<Response, Failure> {
        if let Some(only) = self.rights.configuration.only_token() {
            if only != r.label {
                return Err(Failure::new(format!(
                    "this signer is confined to the token labelled \"{only}\"; \
                     it initialises no other"
                )));
            }
        }
        // thin-edge.io's clients count on it: what is there already is left as it is, and no error.
        let mut tokens = self.module.tokens()?.into_iter();
        let same_label = |token: &TokenInfo| token.initialized && token.label == r.label;
        if let Some(token) = tokens.find(same_label).filter(|t| t.user_pin_initialized) {
            self.rights
                .policy()
                .check_key(self.rights.peer, Operation::InitToken, &token.uri)?;
            record.key = Some(token.uri.clone());
            return Ok(Response::InitToken(token.uri.to_string()));
        }
        // Not by its rules' keys: a blank token has no label yet, the new one is checked below.
        let target = self
            .rights
            .configuration
            .target(r.uri.as_deref(), r.pin)
            .map_err(Failure::new)?;
        let missing = |who: &str| {
            Failure::new(format!(
                "a PIN for the {who} is needed to initialise a token"
            ))
        };
        record.key = Some(Uri {
            token: Some(r.label.clone()),
            ..Uri::default()
        });
        let new = NewToken {
            label: r.label,
            so_pin: r.so_pin.ok_or_else(|| missing("security officer"))?,
            pin: target.pin.clone().ok_or_else(|| missing("user"))?,
        };
        let check = self.rights.check(Operation::InitToken);
        let uri = self.module.init_token(target.token(), &new, &check)?;
        record.key = Some(uri.clone());
        Ok(Response::InitToken(uri.to_string()))
    }

    fn change_pin(&self, r: ChangePin, record: &mut Record) -> Answer {
        let target = self.rights.target(r.uri.as_deref(), r.old_pin)?;
        record.key = Some(target.token().clone());
        let old = target.pin.clone();
        let change = if r.reset {
            let so_pin = r.so_pin.ok_or_else(|| {
                Failure::new("resetting the PIN needs the security officer's PIN")
            })?;
            PinChange::SecurityOfficer { so_pin }
        } else {
            let old = old
                .clone()
                .ok_or_else(|| Failure::new("changing the PIN needs the old PIN"))?;
            PinChange::User { old }
        };
        let check = self.rights.check(Operation::ChangePin);
        let uri = self
            .module
            .change_pin(target.token(), &change, &r.new_pin, &check)?;
        record.key = Some(uri.clone());
        let configured = self.rights.configuration.pin();
        let was_configured = configured.is_some()
            && (r.reset || configured == old.as_ref())
            && self.is_the_configured_token(&uri);
        let successor = was_configured.then_some(r.new_pin);
        Ok((Response::ChangePin(uri.to_string()), successor))
    }

    /// Whether the configured PIN is meant for the token of that URI, and for no other.
    fn is_the_configured_token(&self, token: &Uri) -> bool {
        self.rights.configuration.names_token(token)
            || self
                .module
                .tokens()
                .is_ok_and(|tokens| tokens.iter().filter(|token| token.initialized).count() == 1)
    }
}

/// What the frames of version 1 call a public key: deployed clients put this content into a CSR as
/// `subjectPublicKey`, so it must be the bare key, although the label promises more.
fn v1_pem(key: &PublicKey) -> Result<String, Failure> {
    encode_string("PUBLIC KEY", LineEnding::LF, key.raw())
        .map_err(|error| Failure::new(error.to_string()))
}

fn key_spec(params: KeyParams) -> Result<KeySpec, Failure> {
    Ok(match params {
        KeyParams::Ec { curve: 256 } => KeySpec::EcP256,
        KeyParams::Ec { curve: 384 } => KeySpec::EcP384,
        KeyParams::Ec { curve: 521 } => KeySpec::EcP521,
        KeyParams::Rsa { bits: 2048 } => KeySpec::Rsa2048,
        KeyParams::Rsa { bits: 3072 } => KeySpec::Rsa3072,
        KeyParams::Rsa { bits: 4096 } => KeySpec::Rsa4096,
        KeyParams::Ec { curve } => {
            return Err(Failure::new(format!(
                "an EC key has 256, 384 or 521 bits, not {curve}"
            )));
        }
        KeyParams::Rsa { bits } => {
            return Err(Failure::new(format!(
                "an RSA key has 2048, 3072 or 4096 bits, not {bits}"
            )));
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

fn token_entry(token: TokenInfo) -> TokenEntry {
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

fn key_entry(key: KeyObject) -> (Uri, KeyEntry) {
    let entry = KeyEntry {
        class: key.object_type.name().to_owned(),
        key_type: key.key_type,
        label: key.label,
        id: hex(&key.id),
        uri: key.uri.to_string(),
    };
    (key.uri, entry)
}
