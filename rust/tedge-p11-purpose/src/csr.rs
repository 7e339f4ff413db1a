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

fn attributes(info: &mut SliceReader<'_>) -> der::Result<()> {
    let attributes = x509::open(info, ATTRIBUTES)?;
    if attributes.is_finished() {
        return Ok(());
    }
    x509::one_or_more_sorted(attributes, |attributes| {
        let mut attribute = x509::open(attributes, Tag::Sequence)?;
        attribute.decode::<ObjectIdentifier>()?;
        x509::one_or_more_sorted(x509::open(&mut attribute, Tag::Set)?, |values| {
            values.decode::<AnyRef<'_>>().map(|_| ())
        })?;
        attribute.finish(())
    })
}

/// Version `v1`, the only one.
const VERSION_1: u8 = 0;
/// `[0] IMPLICIT` of a SET OF.
const ATTRIBUTES: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber::N0,
};
