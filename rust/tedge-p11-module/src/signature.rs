//! Signatures as PKCS#11 has them.

use cryptoki_sys::{CKR_DATA_INVALID, CKR_DEVICE_ERROR};
use der::Decode as _;
use der::asn1::{SequenceOf, UintRef};
use tedge_p11_client::SignatureScheme;

use crate::rv::{Result, Rv};

/// `r` and `s` one behind the other, each as long as the curve's order (PKCS#11 3.0, section 2.3.1), from
/// a DER `ECDSA-Sig-Value` (RFC 3279, section 2.2.3).
pub(crate) fn plain_ecdsa(der: &[u8], number_len: usize) -> Result<Vec<u8>> {
    let malformed = Rv(CKR_DEVICE_ERROR);
    let numbers = SequenceOf::<UintRef<'_>, 2>::from_der(der).map_err(|_| malformed)?;
    if numbers.len() != 2 {
        return Err(malformed);
    }
    let mut plain = Vec::with_capacity(2 * number_len);
    for number in numbers.iter() {
        let bytes = number.as_bytes();
        let blank = number_len.checked_sub(bytes.len()).ok_or(malformed)?;
        plain.resize(plain.len() + blank, 0);
        plain.extend_from_slice(bytes);
    }
    Ok(plain)
}

/// Scheme and digest of a DER `DigestInfo` (RFC 8017, section 9.2) with one of the hashes that TLS has.
pub(crate) fn digest_info(info: &[u8]) -> Result<(SignatureScheme, &[u8])> {
    let known = [
        (SignatureScheme::RSA_PKCS1_SHA256, 1, 32),
        (SignatureScheme::RSA_PKCS1_SHA384, 2, 48),
        (SignatureScheme::RSA_PKCS1_SHA512, 3, 64),
    ];
    for (scheme, arc, len) in known {
        // SEQUENCE { SEQUENCE { id-sha2 (RFC 8017, appendix B.1), NULL }, OCTET STRING }
        let start = [
            0x30,
            17 + len,
            0x30,
            13,
            6,
            9,
            0x60,
            0x86,
            0x48,
            1,
            0x65,
            3,
            4,
            2,
            arc,
            5,
            0,
            4,
            len,
        ];
        if let Some(digest) = info.strip_prefix(&start) {
            if digest.len() == usize::from(len) {
                return Ok((scheme, digest));
            }
        }
    }
    Err(Rv(CKR_DATA_INVALID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded() {
        let der = [0x30, 7, 2, 2, 0, 0x80, 2, 1, 5];
        assert_eq!(plain_ecdsa(&der, 3).unwrap(), [0, 0, 0x80, 0, 0, 5]);
        assert_eq!(plain_ecdsa(&der, 1).unwrap(), [0x80, 5]);
    }

    #[test]
    fn what_is_no_signature_is_an_error() {
        for der in [
            &[][..],
            &[0x30, 0],
            &[0x30, 3, 2, 1, 5],
            &[0x30, 6, 2, 1, 5, 2, 1, 0x85],
            &[0x30, 8, 2, 3, 1, 0, 0, 2, 1, 5],
            &[0x30, 7, 2, 2, 0, 0x80, 2, 1, 5, 0],
        ] {
            assert_eq!(plain_ecdsa(der, 2), Err(Rv(CKR_DEVICE_ERROR)), "{der:?}");
        }
    }
}
