//! Requests for certificates beside keys.

use tedge_p11_config::Operation;
use tedge_p11_protocol::{
    CertificateEntry, ExtensionResponse, KeyEntry, ObjectType, Response, Uri, WriteCertificate, hex,
};
use tedge_p11_token::{Certificate, Module};

use super::failure::Failure;
use super::record::Record;
use super::rights::Rights;

/// Reads the certificate that `uri` leaves.
pub(super) fn read(
    module: &Module,
    rights: &Rights<'_>,
    uri: Option<&str>,
    record: &mut Record,
) -> Result<Response, Failure> {
    let target = rights.target(uri, None)?;
    let certificate = module.certificate(&target.uri())?;
    record.key = Some(certificate.uri.clone());
    rights.check_private(Operation::Describe, certificate.uri.clone())?;
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
    r: WriteCertificate,
    record: &mut Record,
) -> Result<Response, Failure> {
    let target = rights.target(r.uri.as_deref(), r.pin)?;
    record.key = Some(target.uri());
    let certificate = Certificate::from_der(&r.certificate.0)?;
    let check = rights.check(Operation::ImportCertificate);
    let may_use = rights.token_check(&target);
    let uri =
        module.import_certificate(target.key(), target.access(&may_use), &certificate, &check)?;
    record.key = Some(uri.clone());
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

/// The certificates that `uri` leaves, as entries of a list of keys.
pub(super) fn list(module: &Module, uri: &Uri) -> Result<Vec<(Uri, KeyEntry)>, Failure> {
    let certificates = module.certificates_on_token(uri)?.into_iter();
    Ok(certificates
        .map(|certificate| {
            let entry = KeyEntry {
                class: "cert".to_owned(),
                key_type: "X_509".to_owned(),
                label: certificate.label,
                id: hex(&certificate.id),
                uri: certificate.uri.to_string(),
            };
            (certificate.uri, entry)
        })
        .collect())
}
