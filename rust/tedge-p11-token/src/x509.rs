//! X.509 certificates, as far as a token wants to be told of them.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use tedge_p11_protocol::PublicKey;

use crate::error::{Error, Result};

/// An X.509 certificate whose parts have been found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) public_key: PublicKey,
}

impl Certificate {
    /// Finds the parts of a certificate (RFC 5280, section 4.1) that a token wants to be told. They are
    /// kept byte for byte, since others compare them so.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        Self::parse(der).ok_or(Error::NotACertificate)
    }

    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let mut outside = SliceReader::new(der).ok()?;
        let mut certificate = inside(&mut outside)?;
        let mut tbs = inside(&mut certificate)?;
        certificate.decode::<AnyRef<'_>>().ok()?;
        certificate.decode::<BitStringRef<'_>>().ok()?;
        if !certificate.is_finished() || !outside.is_finished() {
            return None;
        }
        let version = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber::N0,
        };
        if tbs.peek_tag().ok()? == version {
            tbs.tlv_bytes().ok()?;
        }
        let mut part = |tag: Tag| {
            let element = tbs.tlv_bytes().ok()?;
            (AnyRef::from_der(element).ok()?.tag() == tag).then(|| element.to_vec())
        };
        let serial = part(Tag::Integer)?;
        let _signature_algorithm = part(Tag::Sequence)?;
        let issuer = part(Tag::Sequence)?;
        let _validity = part(Tag::Sequence)?;
        let subject = part(Tag::Sequence)?;
        Some(Self {
            der: der.to_vec(),
            serial,
            issuer,
            subject,
            public_key: PublicKey::from_spki(&part(Tag::Sequence)?)?,
        })
    }
}

/// What is inside the SEQUENCE that comes next.
fn inside<'a>(reader: &mut SliceReader<'a>) -> Option<SliceReader<'a>> {
    let element = reader.decode::<AnyRef<'a>>().ok()?;
    (element.tag() == Tag::Sequence).then_some(())?;
    SliceReader::new(element.value()).ok()
}
