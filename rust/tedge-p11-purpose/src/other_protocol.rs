//! Protocols whose signed bytes a TLS 1.2 transcript can be made to imitate.
//!
//! The beginning of the bytes is the signer's or his peer's free choice in them, so it can be that
//! of a ClientHello; what comes behind is found where the other protocol looks for it.

use crate::presentation::Reader;

/// As what else `message` can be read. An honest transcript has random bytes at the places looked
/// at: it happens to be refused in less than one of a million handshakes.
pub(crate) fn read_as(message: &[u8]) -> Option<&'static str> {
    if is_server_key_exchange(message) {
        return Some("ServerKeyExchange of a TLS 1.2 server");
    }
    is_ike_sa_init(message).then_some("AUTH of IKEv2")
}

/// RFC 5246, section 7.4.3: the randoms of both sides and the parameters. The client's random must
/// happen to look like the beginning of a ClientHello, which is within reach (some 2^-32 for each
/// handshake of a victim); the rest fits into session id, cipher suites and extensions.
fn is_server_key_exchange(message: &[u8]) -> bool {
    message.get(64..).is_some_and(|params| {
        let params = Reader::new(params);
        [is_dh_params, is_ecdh_params, is_srp_params]
            .iter()
            .any(|read| read(params).is_some())
    })
}

/// ServerDHParams: p, g and the server's public value.
fn is_dh_params(mut params: Reader<'_>) -> Option<()> {
    params.vector(2)?;
    params.vector(2)?;
    params.last_vector(2).map(|_| ())
}

/// ServerSRPParams (RFC 5054, section 2.6): N, g, the salt and the server's public value.
fn is_srp_params(mut params: Reader<'_>) -> Option<()> {
    params.vector(2)?;
    params.vector(2)?;
    params.vector(1)?;
    params.last_vector(2).map(|_| ())
}

/// ServerECDHParams (RFC 4492, section 5.4): a curve and a point on it.
fn is_ecdh_params(mut params: Reader<'_>) -> Option<()> {
    match params.u8()? {
        EXPLICIT_PRIME => {
            let prime_len = params.vector(1)?.bytes().len();
            is_explicit_curve(params, prime_len)
        }
        EXPLICIT_CHAR2 => {
            let field_len = usize::from(params.u16()?).div_ceil(8);
            // The exponents of a trinomial or of a pentanomial.
            let exponents = match params.u8()? {
                1 => 1,
                2 => 3,
                _ => return None,
            };
            for _ in 0..exponents {
                params.vector(1)?;
            }
            is_explicit_curve(params, field_len)
        }
        NAMED_CURVE => {
            params.u16()?;
            params.last_vector(1).map(|_| ())
        }
        _ => None,
    }
}

/// What follows the field of an explicit curve: a and b, the base point, its order, the cofactor, and the
/// server's public point. Without the form of the points, one in some ten thousand honest transcripts could be
/// read so.
fn is_explicit_curve(mut params: Reader<'_>, field_len: usize) -> Option<()> {
    let is_point = |point: Reader<'_>| match *point.bytes() {
        [2 | 3, ref x @ ..] => (x.len() == field_len).then_some(()),
        [4 | 6 | 7, ref xy @ ..] => (xy.len() == 2 * field_len).then_some(()),
        _ => None,
    };
    params.vector(1)?;
    params.vector(1)?;
    is_point(params.vector(1)?)?;
    params.vector(1)?;
    params.vector(1)?;
    is_point(params.last_vector(1)?)
}

/// RFC 7296, section 2.15: a whole IKE_SA_INIT message, the peer's nonce and a MAC. The header
/// (section 3.1) begins with an SPI of free choice; then come an SPI, a payload type, the version, the exchange type,
/// flags, message id 0 and the length. A receiver looks at the major version alone (section 2.5).
fn is_ike_sa_init(message: &[u8]) -> bool {
    let header = || {
        let mut header = Reader::new(message);
        header.take(17)?;
        let [version, exchange] = header.u16()?.to_be_bytes();
        header.u8()?;
        let message_id = header.take(4)?;
        let len = header.take(4)?.iter();
        let len = len.fold(0, |len, byte| (len << 8) | u64::from(*byte));
        Some(
            version >> 4 == IKE_MAJOR_VERSION
                && matches!(exchange, IKE_SA_INIT | IKE_SESSION_RESUME)
                && message_id == [0; 4]
                && len < message.len() as u64,
        )
    };
    header() == Some(true)
}

/// RFC 7296, section 3.1.
const IKE_MAJOR_VERSION: u8 = 2;
/// RFC 7296, section 3.1.
const IKE_SA_INIT: u8 = 34;
/// RFC 5723, section 4.3.2: it takes the place of IKE_SA_INIT.
const IKE_SESSION_RESUME: u8 = 38;
/// ECCurveType (RFC 4492, section 5.4).
const EXPLICIT_PRIME: u8 = 1;
const EXPLICIT_CHAR2: u8 = 2;
const NAMED_CURVE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_key_exchange_is_told() {
        let cases: [(&str, &[u8]); 6] = [
            ("DH", &[0, 3, 7, 7, 7, 0, 1, 2, 0, 2, 9, 9]),
            ("SRP", &[0, 2, 7, 7, 0, 1, 2, 3, 1, 2, 3, 0, 2, 9, 9]),
            ("named curve", &[3, 0, 23, 2, 4, 5]),
            // Field of two bytes: p, a, b, base point, order, cofactor, public point.
            (
                "explicit prime",
                &[
                    1, 2, 7, 7, 1, 1, 1, 2, 5, 4, 1, 2, 3, 4, 2, 7, 5, 1, 1, 3, 2, 9, 9,
                ],
            ),
            // Field of 2^9: one exponent.
            (
                "explicit, trinomial",
                &[
                    2, 0, 9, 1, 1, 4, 1, 1, 1, 2, 3, 3, 1, 2, 2, 7, 5, 1, 1, 5, 4, 9, 9, 8, 8,
                ],
            ),
            (
                "explicit, pentanomial",
                &[
                    2, 0, 9, 2, 1, 4, 1, 3, 1, 1, 1, 1, 1, 2, 3, 3, 1, 2, 2, 7, 5, 1, 1, 5, 4, 9,
                    9, 8, 8,
                ],
            ),
        ];
        for (name, params) in cases {
            let signed = [&[1; 64], params].concat();
            let other = "ServerKeyExchange of a TLS 1.2 server";
            assert_eq!(read_as(&signed), Some(other), "{name}");
            let longer = [signed.as_slice(), &[0]].concat();
            assert_eq!(read_as(&longer), None, "{name}");
            assert_eq!(read_as(&signed[..signed.len() - 1]), None, "{name}");
        }
    }

    #[test]
    fn an_ike_message_is_told() {
        let mut auth = vec![0x01; 16];
        auth.extend([33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 40]);
        auth.extend([0xff; 12 + 32 + 32]);
        for (version, exchange, read) in [
            (0x20, 34, true),
            // A minor version means nothing to a receiver.
            (0x21, 34, true),
            (0x2f, 34, true),
            (0x20, 38, true),
            (0x10, 34, false),
            (0x20, 35, false),
        ] {
            auth[17] = version;
            auth[18] = exchange;
            let expected = read.then_some("AUTH of IKEv2");
            assert_eq!(read_as(&auth), expected, "{version:x} {exchange}");
        }
        auth[17] = 0x20;
        auth[18] = 34;
        auth[20] = 1;
        assert_eq!(read_as(&auth), None);
    }
}
