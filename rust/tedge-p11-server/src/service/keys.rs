//! Requests that read, make and delete keys.

use der::pem::{LineEnding, encode_string};
use tedge_p11_protocol::{
    ChosenScheme, CreatedKey, ExtensionResponse, KeyEntry, KeyUse, PublicKey, Response,
    SignatureAlgorithm, SignatureScheme, hex,
};
use tedge_p11_token::{KeyInfo, KeyObject, Module};

use super::failure::Failure;
use super::record::Record;
use super::request::NewKey;
use super::rights::Rights;
use crate::configuration::Target;

/// The first scheme of those offered that the key can do, as version 1 asks for it.
pub(super) fn choose_scheme(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    offered: &[SignatureScheme],
    record: &mut Record,
) -> Result<Response, Failure> {
    let may_use = rights.token_check(target);
    record.asks_for(target.uri());
    let (uri, schemes) = module.schemes(target.key(), target.access(rights.caller(), &may_use))?;
    record.found(&uri);
    rights.check_found(target, &uri)?;
    let algorithm = schemes.iter().find_map(|scheme| scheme.algorithm());
    Ok(Response::ChosenScheme(ChosenScheme {
        scheme: schemes.into_iter().find(|s| offered.contains(s)),
        // A key has at least one scheme, all of one algorithm.
        algorithm: algorithm.unwrap_or(SignatureAlgorithm(0)).0,
    }))
}

/// The public key, as version 1 has it.
pub(super) fn public_key(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    record: &mut Record,
) -> Result<Response, Failure> {
    let may_use = rights.token_check(target);
    record.asks_for(target.uri());
    let (uri, key) = module.public_key(target.key(), target.access(rights.caller(), &may_use))?;
    record.found(&uri);
    rights.check_found_private(target, uri)?;
    Ok(Response::PublicKeyPem(v1_pem(&key)?))
}

/// URI, public key and schemes.
pub(super) fn info(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    record: &mut Record,
) -> Result<Response, Failure> {
    Ok(key_info(found(module, rights, target, record)?))
}

/// URI, public key and schemes, and whether the peer may have digests signed.
pub(super) fn usage(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    record: &mut Record,
) -> Result<Response, Failure> {
    let key = found(module, rights, target, record)?;
    let digests = rights.check_digest(&key.uri).is_ok();
    let info = wire_info(key);
    Ok(Response::Extension(ExtensionResponse::KeyUse(KeyUse {
        info,
        digests,
    })))
}

/// Makes a key pair.
pub(super) fn create(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    new: NewKey,
    record: &mut Record,
) -> Result<Response, Failure> {
    record.asks_for(target.token().clone());
    let NewKey {
        spec,
        label,
        id,
        v1,
    } = new;
    let new = tedge_p11_token::NewKey { spec, label, id };
    let check = rights.check(target);
    let key = module.create_key(target.token(), target.pin(rights.caller()), &new, &check)?;
    record.found(&key.uri);
    if v1 {
        return Ok(Response::CreatedKey(CreatedKey {
            pem: v1_pem(&key.public_key)?,
            uri: key.uri.to_string(),
        }));
    }
    Ok(key_info(key))
}

/// Deletes a key with what belongs to it.
pub(super) fn delete(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    record: &mut Record,
) -> Result<Response, Failure> {
    let uri = target.uri();
    record.asks_for(uri.clone());
    let may_use = rights.token_check(target);
    let check = rights.check(target);
    let deleted = module.delete_key(&uri, target.access(rights.caller(), &may_use), &check)?;
    let deleted = deleted.iter().map(ToString::to_string);
    Ok(Response::DeletedKeys(deleted.collect()))
}

/// The keys that the peer may list.
pub(super) fn list(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
) -> Result<Response, Failure> {
    let may_use = rights.token_check(target);
    let keys = module.keys_on_token(&target.uri(), target.access(rights.caller(), &may_use))?;
    let listed = keys
        .into_iter()
        .filter(|key| rights.check_private(key.uri.clone()).is_ok());
    Ok(Response::Keys(listed.map(key_entry).collect()))
}

/// What is to be told of the key that a request is about, if the peer may know it.
fn found(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    record: &mut Record,
) -> Result<KeyInfo, Failure> {
    let may_use = rights.token_check(target);
    record.asks_for(target.uri());
    let key = module.key_info(target.key(), target.access(rights.caller(), &may_use))?;
    record.found(&key.uri);
    rights.check_found(target, &key.uri)?;
    Ok(key)
}

/// What the frames of version 1 call a public key: deployed clients put this content into a CSR as
/// `subjectPublicKey`, so it must be the bare key, although the label promises more.
fn v1_pem(key: &PublicKey) -> Result<String, Failure> {
    encode_string("PUBLIC KEY", LineEnding::LF, key.raw()).map_err(Failure::Pem)
}

fn key_info(key: KeyInfo) -> Response {
    Response::Extension(ExtensionResponse::KeyInfo(wire_info(key)))
}

fn wire_info(key: KeyInfo) -> tedge_p11_protocol::KeyInfo {
    tedge_p11_protocol::KeyInfo {
        uri: key.uri.to_string(),
        spki: key.public_key.spki().to_vec().into(),
        schemes: key.schemes,
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
