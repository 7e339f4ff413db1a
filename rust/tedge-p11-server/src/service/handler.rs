//! One request, from what it asks for to calls on the module, and back.

use tedge_p11_protocol::{Pin, PublicKey, Response, Uri};
use tedge_p11_purpose::recognize;
use tedge_p11_token::Module;

use super::certificates;
use super::failure::Failure;
use super::keys;
use super::objects;
use super::record::Record;
use super::request::{Act, Call, Manage, Sign};
use super::rights::Rights;
use super::tokens;
use crate::configuration::Target;

/// The response, and the configured PIN's successor if a client changed it on the configured token.
pub(super) type Answer = Result<(Response, Option<Pin>), Failure>;

/// Answers `call` within `rights`, and notes in `record` what it was about.
pub(super) fn handle(
    module: &Module,
    rights: &Rights<'_>,
    call: Call,
    record: &mut Record,
) -> Answer {
    if let Err(refusal) = rights.check_operation() {
        // The journal tells what it was about.
        let target = rights.configuration.target(call.uri.as_deref(), None);
        if let Ok(target) = target {
            record.asks_for(target.uri());
        }
        return Err(refusal.into());
    }
    match call.act {
        Act::Sign(what) => {
            let target = rights.target(call.uri.as_deref(), call.pin)?;
            let signed = sign(module, rights, &target, &what, record);
            if signed.is_err() {
                record.asks_at_least_for(&target);
            }
            Ok((signed?, None))
        }
        Act::Manage(what) => manage(module, rights, call.uri.as_deref(), call.pin, what, record),
    }
}

fn sign(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    what: &Sign,
    record: &mut Record,
) -> Result<Response, Failure> {
    let message = &what.message.0;
    let mut check = |key: &Uri, scheme, public_key: Option<&PublicKey>| {
        record.found(key);
        record.scheme = Some(scheme);
        if what.is_digest {
            record.is_digest = true;
            let decision = rights.check_digest(key);
            return Ok(decision?);
        }
        let recognize = || {
            let recognized = recognize(message, scheme, public_key);
            record.purpose = Some(recognized);
            recognized
        };
        let decision = rights.check_signature(key, recognize);
        Ok(decision?)
    };
    let may_use = rights.token_check(target);
    let access = target.access(rights.caller(), &may_use);
    let key = target.key();
    let signature = match what.scheme {
        Some(scheme) if what.is_digest => {
            module.sign_digest(key, access, scheme, message, &mut check)?
        }
        scheme => module.sign(key, access, scheme, message, &mut check)?,
    };
    Ok(Response::Signature(signature.into()))
}

/// All but signatures. Not inlined: what it keeps on the stack would lie below every signature, in each
/// thread.
#[inline(never)]
fn manage(
    module: &Module,
    rights: &Rights<'_>,
    uri: Option<&str>,
    pin: Option<Pin>,
    what: Manage,
    record: &mut Record,
) -> Answer {
    let response = match what {
        Manage::TokensUris => tokens::uris(module)?,
        Manage::ListTokens => tokens::list(module)?,
        Manage::Tokens => tokens::usable(module, rights)?,
        Manage::InitToken { label, so_pin } => {
            let target = rights.any_target(uri, pin)?;
            tokens::init(module, rights, &target, label, so_pin, record)?
        }
        Manage::ChangePin(change) => {
            return tokens::change_pin(module, rights, &rights.target(uri, pin)?, change, record);
        }
        Manage::ChangeSoPin { old, new } => tokens::change_so_pin(
            module,
            rights,
            &rights.target(uri, pin)?,
            &old,
            &new,
            record,
        )?,
        Manage::ChooseScheme { offered } => {
            keys::choose_scheme(module, rights, &rights.target(uri, pin)?, &offered, record)?
        }
        Manage::PublicKeyPem => {
            keys::public_key(module, rights, &rights.target(uri, pin)?, record)?
        }
        Manage::KeyUse => keys::usage(module, rights, &rights.target(uri, pin)?, record)?,
        Manage::KeyInfo => keys::info(module, rights, &rights.target(uri, pin)?, record)?,
        Manage::CreateKey(new) => {
            keys::create(module, rights, &rights.target(uri, pin)?, new, record)?
        }
        Manage::DeleteKey => keys::delete(module, rights, &rights.target(uri, pin)?, record)?,
        Manage::ListKeys if certificates::are_asked_for(uri) => {
            certificates::list(module, rights, &rights.target(uri, pin)?)?
        }
        Manage::ListKeys => keys::list(module, rights, &rights.target(uri, pin)?)?,
        Manage::Objects { contents } => {
            let certificates = certificates::are_asked_for(uri);
            let target = rights.target(uri, pin)?;
            objects::list(module, rights, &target, certificates, contents)?
        }
        Manage::ReadCertificate => {
            certificates::read(module, rights, &rights.target(uri, pin)?, record)?
        }
        Manage::WriteCertificate { der } => {
            certificates::write(module, rights, &rights.target(uri, pin)?, &der, record)?
        }
    };
    Ok((response, None))
}
