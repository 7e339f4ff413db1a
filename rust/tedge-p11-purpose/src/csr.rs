//! CertificationRequestInfo (RFC 2986, section 4.1).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Reader as _, SliceReader, Tag, TagNumber};
use tedge_p11_protocol::PublicKey;

use crate::unrecognized::Flaw;
use crate::x509;

/// Whether the elements of `message` are those of a request, whatever is in them.
pub(crate) fn resembles(message: &[u8]) -> bool {
    let fourth = || {
        let mut info = x509::document(message)?;
        for _ in ["version", "subject", "subjectPKInfo"] {
            info.tlv_bytes()?;
        }
        info.peek_tag()
    };
    fourth().ok() == Some(ATTRIBUTES)
}

/// Whether `message` is a request for a certificate of `public_key`.
pub(crate) fn check(message: &[u8], public_key: &PublicKey) -> Result<(), Flaw> {
    let mut info = x509::document(message)?;
    if info.decode::<u8>()? != VERSION_1 {
        return Err(Flaw::Der);
    }
    x509::name(&mut info)?;
    let spki = info.tlv_bytes()?;
    attributes(&mut info)?;
    info.finish(())?;
    if spki != public_key.spki() {
        return Err(Flaw::OtherKey);
    }
    Ok(())
}

fn attributes(info: &mut SliceReader<'_>) -> Result<(), Flaw> {
    let attributes = x509::open(info, ATTRIBUTES)?;
    if attributes.is_finished() {
        return Ok(());
    }
    let mut types = Vec::new();
    let mut requested = Vec::new();
    x509::one_or_more_sorted(attributes, |attributes| {
        let mut attribute = x509::open(attributes, Tag::Sequence)?;
        let attribute_type = attribute.decode::<ObjectIdentifier>()?;
        let values = x509::open(&mut attribute, Tag::Set)?;
        if attribute_type == EXTENSION_REQUEST || attribute_type == MICROSOFT_EXTENSION_REQUEST {
            // As one type: with both, readers differ in which they take.
            types.push(EXTENSION_REQUEST);
            let mut value = values;
            requested = x509::extensions(&mut value)?;
            value.finish(())?;
        } else {
            types.push(attribute_type);
            x509::one_or_more_sorted(values, |values| values.decode::<AnyRef<'_>>().map(|_| ()))?;
        }
        attribute.finish(())
    })?;
    x509::distinct(types)?;
    x509::distinct(requested)
}

/// The extensions that the certificate is to have (RFC 2985, section 5.4.2). A CA copies them.
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
/// The same by Microsoft's name. OpenSSL takes it where the other is missing.
const MICROSOFT_EXTENSION_REQUEST: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.14");
/// Version `v1`, the only one.
const VERSION_1: u8 = 0;
/// `[0] IMPLICIT` of a SET OF.
const ATTRIBUTES: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber::N0,
};
