//! ECDSA signatures as TLS wants them.

use der::Encode;
use der::asn1::{SequenceOf, UintRef};

/// DER `ECDSA-Sig-Value` (RFC 3279, section 2.2.3) out of PKCS#11's r||s, two numbers of exactly
/// `field_len` bytes each. `None` for any other length: a token that pads differently would make
/// signatures that fail one time in 256.
pub(crate) fn ecdsa_to_der(raw: &[u8], field_len: usize) -> Option<Vec<u8>> {
    if raw.len() != 2 * field_len {
        return None;
    }
    let (r, s) = raw.split_at(field_len);
    let mut numbers = SequenceOf::<UintRef<'_>, 2>::new();
    numbers.add(UintRef::new(r).ok()?).ok()?;
    numbers.add(UintRef::new(s).ok()?).ok()?;
    numbers.to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shortest_and_positive() {
        let mut raw = [0u8; 64];
        raw[31] = 0x80; // r needs a leading zero
        raw[62] = 0x01; // s is 0x0100
        assert_eq!(
            ecdsa_to_der(&raw, 32).unwrap(),
            [0x30, 0x08, 0x02, 0x02, 0x00, 0x80, 0x02, 0x02, 0x01, 0x00]
        );
    }

    #[test]
    fn other_lengths_are_refused() {
        assert!(ecdsa_to_der(&[1; 63], 32).is_none());
        assert!(ecdsa_to_der(&[1; 96], 32).is_none());
        assert!(ecdsa_to_der(&[], 32).is_none());
    }
}
