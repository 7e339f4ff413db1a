//! The certificates in a PKCS#7 message that carries nothing else (RFC 5652, section 5; RFC 7030,
//! section 4.1.3).
//!
//! The message may be BER: some CAs write its outer parts with indefinite lengths, which the DER of
//! the other crates does not know. The certificates themselves are DER, and are not looked into here.

/// DER of the certificates in `message`, none if it is no SignedData.
#[must_use]
pub fn certificates(message: &[u8]) -> Option<Vec<&[u8]>> {
    let mut input = message;
    let content_info = Element::read(&mut input, MAX_DEPTH)?.of(SEQUENCE)?;
    if !input.is_empty() {
        return None;
    }
    let mut input = content_info;
    if Element::read(&mut input, 0)?.of(OID)? != SIGNED_DATA {
        return None;
    }
    let mut input = Element::read(&mut input, MAX_DEPTH)?.of(CONTEXT_0)?;
    let mut input = Element::read(&mut input, MAX_DEPTH)?.of(SEQUENCE)?;
    for tag in [INTEGER, SET, SEQUENCE] {
        // version, digestAlgorithms, encapContentInfo
        Element::read(&mut input, MAX_DEPTH)?.of(tag)?;
    }
    let mut input = Element::read(&mut input, MAX_DEPTH)?.of(CONTEXT_0)?;
    let mut certificates = Vec::new();
    while !input.is_empty() {
        let choice = Element::read(&mut input, MAX_DEPTH)?;
        // The other choices are attribute certificates and what is obsolete.
        if choice.tag == SEQUENCE {
            certificates.push(choice.whole);
        }
    }
    Some(certificates)
}

/// An element of BER (X.690, section 8.1).
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// With its tag and length.
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Takes the next element off `input`. `depth` bounds how deep indefinite lengths may be nested.
    fn read(input: &mut &'a [u8], depth: u8) -> Option<Self> {
        let start = *input;
        let (&[tag, first], rest) = start.split_first_chunk()?;
        // Tags of more than one byte have no place here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (content, rest) = match first {
            0..=0x7f => rest.split_at_checked(usize::from(first))?,
            0x80 if tag & CONSTRUCTED != 0 => until_end_of_contents(rest, depth.checked_sub(1)?)?,
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = len
                    .iter()
                    .fold(0, |len, byte| (len << 8) | u64::from(*byte));
                rest.split_at_checked(usize::try_from(len).ok()?)?
            }
            _ => return None,
        };
        *input = rest;
        Some(Self {
            tag,
            content,
            whole: start.get(..start.len() - rest.len())?,
        })
    }

    /// The content, if the tag is `tag`.
    fn of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// Divides `input` into the elements before the end-of-contents and what follows that.
fn until_end_of_contents(input: &[u8], depth: u8) -> Option<(&[u8], &[u8])> {
    let mut rest = input;
    loop {
        if let Some(behind) = rest.strip_prefix(&[0, 0]) {
            return Some((input.get(..input.len() - rest.len())?, behind));
        }
        Element::read(&mut rest, depth)?;
    }
}

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
const CONSTRUCTED: u8 = 0x20;
/// id-signedData (RFC 5652, section 5.1), 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// A message has five levels above a certificate.
const MAX_DEPTH: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// An element with a definite length, or with an indefinite one.
    fn element(tag: u8, parts: &[&[u8]], definite: bool) -> Vec<u8> {
        let content = parts.concat();
        if definite {
            let len = u16::try_from(content.len()).unwrap().to_be_bytes();
            return [&[tag, 0x82, len[0], len[1]], content.as_slice()].concat();
        }
        [&[tag, 0x80], content.as_slice(), &[0, 0]].concat()
    }

    fn message(certificates: &[&[u8]], definite: bool) -> Vec<u8> {
        let data: &[u8] = &[
            0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01,
        ];
        let signed = element(
            SEQUENCE,
            &[
                &[INTEGER, 1, 1],
                &element(SET, &[], definite),
                &element(SEQUENCE, &[data], definite),
                &element(CONTEXT_0, certificates, definite),
                &element(SET, &[], definite),
            ],
            definite,
        );
        let oid = [&[OID, 9], SIGNED_DATA].concat();
        element(
            SEQUENCE,
            &[&oid, &element(CONTEXT_0, &[&signed], definite)],
            definite,
        )
    }

    #[test]
    fn certificates_are_found_in_der_and_in_ber() {
        let (one, two): (&[u8], &[u8]) = (&[0x30, 1, 7], &[0x30, 2, 0, 0]);
        for definite in [true, false] {
            let message = message(&[one, two], definite);
            assert_eq!(certificates(&message).unwrap(), [one, two], "{definite}");
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        for definite in [true, false] {
            let message = message(&[&[0x30, 1, 7]], definite);
            for len in 0..message.len() {
                assert!(certificates(&message[..len]).is_none(), "{definite} {len}");
            }
            assert!(certificates(&[&message, [0].as_slice()].concat()).is_none());
        }
    }

    #[test]
    fn deep_nesting_ends() {
        let deep = [0x30, 0x80].repeat(100_000);
        assert!(certificates(&deep).is_none());
    }
}
