//! Requests for certificates beside keys.

use tedge_p11_protocol::{
    CertificateEntry, ExtensionResponse, KeyEntry, ObjectType, Response, Uri, hex,
};
use tedge_p11_token::{Certificate, CertificateObject, Module};

use super::failure::Failure;
use super::record::Record;
use super::rights::Rights;
use crate::configuration::Target;

/// Reads a certificate.
pub(super) fn read(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    record: &mut Record,
) -> Result<Response, Failure> {
    let certificate = module.certificate(&target.uri())?;
    record.found(&certificate.uri);
    rights.check_found_private(target, certificate.uri.clone())?;
    Ok(Response::Extension(ExtensionResponse::Certificate(
        CertificateEntry {
            uri: certificate.uri.to_string(),
            der: certificate.der.into(),
        },
    )))
}

/// Writes a certificate beside its key.
pub(super) fn write(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    der: &[u8],
    record: &mut Record,
) -> Result<Response, Failure> {
    record.asks_for(target.uri());
    let certificate = Certificate::from_der(der)?;
    let check = rights.check(target);
    let may_use = rights.token_check(target);
    let uri = module.import_certificate(
        target.key(),
        target.access(rights.caller(), &may_use),
        &certificate,
        &check,
    )?;
    record.found(&uri);
    Ok(Response::Extension(ExtensionResponse::Done(
        uri.to_string(),
    )))
}

/// Whether a list is to be one of certificates. Asked of the URI that was sent: the configured one may
/// have a type, and names keys.
pub(super) fn are_asked_for(uri: Option<&str>) -> bool {
    uri.and_then(|uri| uri.parse::<Uri>().ok())
        .is_some_and(|uri| uri.object_type == Some(ObjectType::Certificate))
}

/// The certificates whose keys the peer may list, as entries of a list of keys.
pub(super) fn list(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
) -> Result<Response, Failure> {
    let certificates = module.certificates_on_token(&target.uri())?;
    let listed = certificates
        .into_iter()
        .filter(|certificate| rights.check_private(certificate.uri.clone()).is_ok());
    Ok(Response::Keys(listed.map(entry).collect()))
}

fn entry(certificate: CertificateObject) -> KeyEntry {
    KeyEntry {
        class: "cert".to_owned(),
        key_type: "X_509".to_owned(),
        label: certificate.label,
        id: hex(&certificate.id),
        uri: certificate.uri.to_string(),
    }
}
