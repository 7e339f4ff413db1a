//! TBSCertificate (RFC 5280, section 4.1) of a self-signed certificate.

use der::asn1::UintRef;
use der::{Reader as _, SliceReader, TagNumber};
use spki::AlgorithmIdentifierRef;
use tedge_p11_protocol::{PublicKey, SignatureScheme};

use crate::unrecognized::Flaw;
use crate::{signature_algorithm, x509};

/// Whether `message` begins as a certificate does, of version 3 or 1.
pub(crate) fn resembles(message: &[u8]) -> bool {
    let begin = || {
        let mut tbs = x509::document(message)?;
        version(&mut tbs)?;
        tbs.decode::<UintRef<'_>>()?;
        tbs.decode::<AlgorithmIdentifierRef<'_>>()
    };
    begin().is_ok()
}

/// Whether `message` is a certificate of `public_key`, to be signed by it with `scheme`.
pub(crate) fn check(
    message: &[u8],
    scheme: SignatureScheme,
    public_key: &PublicKey,
) -> Result<(), Flaw> {
    let mut tbs = x509::document(message)?;
    let version = version(&mut tbs)?;
    let serial_number = tbs.decode::<UintRef<'_>>()?;
    let signature = tbs.decode::<AlgorithmIdentifierRef<'_>>()?;
    let issuer = x509::name(&mut tbs)?;
    x509::validity(&mut tbs)?;
    let subject = x509::name(&mut tbs)?;
    let spki = tbs.tlv_bytes()?;
    // Neither unique identifier is accepted: section 4.1.2.8 says that none is made.
    if version == Version::V3 && !tbs.is_finished() {
        let mut extensions = x509::open(&mut tbs, x509::explicit(TagNumber::N3))?;
        let types = x509::extensions(&mut extensions)?;
        extensions.finish(())?;
        x509::distinct(types)?;
    }
    tbs.finish(())?;
    // A UintRef has no leading zeros, but for the number 0 itself.
    if serial_number.as_bytes() == [0] || serial_number.as_bytes().len() > 20 {
        return Err(Flaw::SerialNumber);
    }
    if issuer != subject {
        return Err(Flaw::OtherIssuer);
    }
    if spki != public_key.spki() {
        return Err(Flaw::OtherKey);
    }
    if !signature_algorithm::fits(signature, scheme) {
        return Err(Flaw::Scheme(scheme));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V3,
}

/// Version 1 is the default, which DER leaves out (X.690, section 11.5).
fn version(tbs: &mut SliceReader<'_>) -> der::Result<Version> {
    let tag = x509::explicit(TagNumber::N0);
    if tbs.peek_tag()? != tag {
        return Ok(Version::V1);
    }
    let mut inside = x509::open(tbs, tag)?;
    let version = inside.decode::<u8>()?;
    inside.finish(())?;
    match version {
        2 => Ok(Version::V3),
        _ => Err(der::Tag::Integer.value_error()),
    }
}
