//! The parts that certificates and requests have in common (RFC 5280, section 4.1).
//!
//! Each is read down to the values whose form no general standard fixes (of attributes and
//! extensions); those are delimited and not looked into.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, UtcTime};
use der::{Decode as _, ErrorKind, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};

use crate::unrecognized::Flaw;

/// The first byte of a DER SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;

/// The SubjectPublicKeyInfo in a certificate that somebody issued. Only its place is looked for: a
/// peer who takes the certificate judges the rest.
pub(crate) fn subject_public_key_info(certificate: &[u8]) -> der::Result<&[u8]> {
    let mut certificate = document(certificate)?;
    let mut tbs = open(&mut certificate, Tag::Sequence)?;
    open(&mut certificate, Tag::Sequence)?;
    certificate.decode::<BitStringRef<'_>>()?;
    certificate.finish(())?;
    if tbs.peek_tag()? == explicit(TagNumber::N0) {
        tbs.tlv_bytes()?;
    }
    for tag in [
        Tag::Integer,  // serialNumber
        Tag::Sequence, // signature
        Tag::Sequence, // issuer
        Tag::Sequence, // validity
        Tag::Sequence, // subject
    ] {
        tbs.decode::<AnyRef<'_>>()?.tag().assert_eq(tag)?;
    }
    tbs.tlv_bytes()
}

/// What is inside a DER SEQUENCE behind which nothing follows.
pub(crate) fn document(bytes: &[u8]) -> der::Result<SliceReader<'_>> {
    let mut reader = SliceReader::new(bytes)?;
    let inside = open(&mut reader, Tag::Sequence)?;
    reader.finish(inside)
}

/// What is inside the next element. Who has read it must `finish` it.
pub(crate) fn open<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<SliceReader<'a>> {
    let element = reader.decode::<AnyRef<'a>>()?;
    element.tag().assert_eq(tag)?;
    SliceReader::new(element.value())
}

/// Reads with `item` until nothing is left; there must be one at least.
pub(crate) fn one_or_more<'a>(
    mut reader: SliceReader<'a>,
    mut item: impl FnMut(&mut SliceReader<'a>) -> der::Result<()>,
) -> der::Result<()> {
    item(&mut reader)?;
    while !reader.is_finished() {
        item(&mut reader)?;
    }
    Ok(())
}

/// The same for a SET OF, whose elements are in ascending order (X.690, section 11.6).
pub(crate) fn one_or_more_sorted<'a>(
    mut reader: SliceReader<'a>,
    item: impl FnMut(&mut SliceReader<'a>) -> der::Result<()>,
) -> der::Result<()> {
    let mut before: &[u8] = &[];
    one_or_more(reader.clone(), item)?;
    while !reader.is_finished() {
        let element = reader.tlv_bytes()?;
        if element <= before {
            return Err(ErrorKind::SetOrdering.into());
        }
        before = element;
    }
    Ok(())
}

/// The tag of an explicitly tagged field, or of an implicitly tagged constructed one.
pub(crate) fn explicit(number: TagNumber) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number,
    }
}

/// A Name (section 4.1.2.4), as it is encoded.
pub(crate) fn name<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    let encoded = reader.tlv_bytes()?;
    let rdns = document(encoded)?;
    if !rdns.is_finished() {
        one_or_more(rdns, |rdns| {
            one_or_more_sorted(open(rdns, Tag::Set)?, |rdn| {
                let mut attribute = open(rdn, Tag::Sequence)?;
                attribute.decode::<ObjectIdentifier>()?;
                attribute.decode::<AnyRef<'_>>()?;
                attribute.finish(())
            })
        })?;
    }
    Ok(encoded)
}

/// A Validity (section 4.1.2.5).
pub(crate) fn validity(reader: &mut SliceReader<'_>) -> der::Result<()> {
    let mut validity = open(reader, Tag::Sequence)?;
    for _ in ["notBefore", "notAfter"] {
        if validity.peek_tag()? == Tag::UtcTime {
            UtcTime::decode(&mut validity)?;
        } else {
            GeneralizedTime::decode(&mut validity)?;
        }
    }
    validity.finish(())
}

/// The types of Extensions (section 4.2), which are read without the tag around them.
pub(crate) fn extensions(reader: &mut SliceReader<'_>) -> der::Result<Vec<ObjectIdentifier>> {
    let mut types = Vec::new();
    one_or_more(open(reader, Tag::Sequence)?, |extensions| {
        let mut extension = open(extensions, Tag::Sequence)?;
        types.push(extension.decode::<ObjectIdentifier>()?);
        if extension.peek_tag()? == Tag::Boolean && !extension.decode::<bool>()? {
            // FALSE is the default, which DER leaves out (X.690, section 11.5).
            return Err(Tag::Boolean.value_error());
        }
        extension.decode::<OctetStringRef<'_>>()?;
        extension.finish(())
    })?;
    Ok(types)
}

/// That no type stands there twice.
pub(crate) fn distinct(mut types: Vec<ObjectIdentifier>) -> Result<(), Flaw> {
    types.sort_unstable();
    if types.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Flaw::Twice);
    }
    Ok(())
}
