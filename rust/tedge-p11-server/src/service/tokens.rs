//! Requests about tokens as a whole: lists, initialising, PINs.

use tedge_p11_protocol::{ExtensionResponse, Pin, Response, TokenEntry, TokenUse, Uri};
use tedge_p11_token::{Giver, Module, NewToken, PinChange, TokenInfo};

use super::failure::{Failure, PinMissing};
use super::record::Record;
use super::request::{ChangePin, PinChanger};
use super::rights::Rights;
use crate::configuration::Target;

/// The URIs of all initialised tokens.
pub(super) fn uris(module: &Module) -> Result<Response, Failure> {
    let tokens = module.tokens()?;
    let initialized = tokens.iter().filter(|token| token.initialized);
    Ok(Response::TokensUris(
        initialized.map(|token| token.uri.to_string()).collect(),
    ))
}

/// All tokens.
pub(super) fn list(module: &Module) -> Result<Response, Failure> {
    let tokens = module.tokens()?;
    Ok(Response::Tokens(
        tokens.into_iter().map(token_entry).collect(),
    ))
}

/// The tokens that the peer's requests can reach, and what they take.
pub(super) fn usable(module: &Module, rights: &Rights<'_>) -> Result<Response, Failure> {
    let has_pin = rights.configuration.pin().is_some();
    let tokens = module.tokens()?.into_iter();
    let tokens = tokens
        .filter(|token| !token.initialized || rights.reach(&token.uri))
        .map(|token| TokenUse {
            needs_pin: token.login_required && !has_pin,
            has_user_pin: token.user_pin_initialized,
            digests: rights.signs_digests_on(&token.uri),
            token: token_entry(token),
        });
    Ok(Response::Extension(ExtensionResponse::Tokens(
        tokens.collect(),
    )))
}

/// Initialises a token, and sets its user's PIN, the one in `target`. What `target` says is not held against
/// the keys of rules: a blank token has no label yet, the new one is checked.
pub(super) fn init(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    label: String,
    so_pin: Option<Pin>,
    record: &mut Record,
) -> Result<Response, Failure> {
    if let Some(only) = rights.configuration.only_token() {
        if only != label {
            return Err(Failure::OtherToken {
                only: only.to_owned(),
            });
        }
    }
    // thin-edge.io's clients count on it: what is there already is left as it is, and no error.
    let mut tokens = module.tokens()?.into_iter();
    let same_label = |token: &TokenInfo| token.initialized && token.label == label;
    if let Some(token) = tokens.find(same_label).filter(|t| t.user_pin_initialized) {
        rights.check_key(&token.uri)?;
        record.found(&token.uri);
        return Ok(Response::InitToken(token.uri.to_string()));
    }
    record.asks_for(Uri {
        token: Some(label.clone()),
        ..Uri::default()
    });
    let pin_by = target.pin(rights.caller()).map(|pin| pin.by);
    let new = NewToken {
        label,
        so_pin: so_pin.ok_or(PinMissing::NewSecurityOfficer)?,
        pin: target.pin.clone().ok_or(PinMissing::NewUser)?,
        pin_by: pin_by.unwrap_or(Giver::Operator),
    };
    let check = rights.check(target);
    let uri = module.init_token(target.token(), &new, &check)?;
    record.found(&uri);
    Ok(Response::InitToken(uri.to_string()))
}

/// Sets another user PIN. Tells the configured PIN's successor if it was that one.
pub(super) fn change_pin(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    change: ChangePin,
    record: &mut Record,
) -> Result<(Response, Option<Pin>), Failure> {
    record.asks_for(target.token().clone());
    let old = target.pin(rights.caller());
    let (is_reset, by) = match &change.by {
        PinChanger::SecurityOfficer(so_pin) => {
            let so_pin = so_pin.as_ref().ok_or(PinMissing::Reset)?;
            let so_pin = rights.given(so_pin);
            (true, PinChange::SecurityOfficer { so_pin })
        }
        PinChanger::User => {
            let old = old.ok_or(PinMissing::Old)?;
            (false, PinChange::User { old })
        }
    };
    let check = rights.check(target);
    let uri = module.change_pin(target.token(), by, &change.new, &check)?;
    record.found(&uri);
    let configured = rights.configuration.pin();
    let was_configured = configured.is_some()
        && (is_reset || configured == old.map(|old| old.pin))
        && is_the_configured_token(module, rights, &uri);
    let successor = was_configured.then_some(change.new);
    Ok((Response::ChangePin(uri.to_string()), successor))
}

/// Sets another PIN of the security officer.
pub(super) fn change_so_pin(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    old: &Pin,
    new: &Pin,
    record: &mut Record,
) -> Result<Response, Failure> {
    record.asks_for(target.token().clone());
    let old = rights.given(old);
    let uri = module.change_so_pin(target.token(), old, new, &rights.check(target))?;
    record.found(&uri);
    Ok(Response::Extension(ExtensionResponse::Done(
        uri.to_string(),
    )))
}

/// Whether the configured PIN is meant for the token of that URI, and for no other.
fn is_the_configured_token(module: &Module, rights: &Rights<'_>, token: &Uri) -> bool {
    rights.configuration.names_token(token)
        || module
            .tokens()
            .is_ok_and(|tokens| tokens.iter().filter(|token| token.initialized).count() == 1)
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
