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
        is_dh_params(params).is_some() || is_ecdh_params(params).is_some()
    })
}

/// ServerDHParams: p, g and the server's public value.
fn is_dh_params(mut params: Reader<'_>) -> Option<()> {
    params.vector(2)?;
    params.vector(2)?;
    params.last_vector(2).map(|_| ())
}

/// ServerECDHParams (RFC 8422, section 5.4): a named curve, its number and a point.
fn is_ecdh_params(mut params: Reader<'_>) -> Option<()> {
    (params.u8()? == 3).then_some(())?;
    params.u16()?;
    params.last_vector(1).map(|_| ())
}

/// RFC 7296, section 2.15: a whole IKE_SA_INIT message, the peer's nonce and a MAC. The header
/// (section 3.1) begins with an SPI of free choice; then come an SPI, a payload type, version 2.0,
/// the exchange type, flags, message id 0 and the length.
fn is_ike_sa_init(message: &[u8]) -> bool {
    let header = || {
        let mut header = Reader::new(message);
        header.take(17)?;
        let version_and_exchange = header.u16()?;
        header.u8()?;
        let message_id = header.take(4)?;
        let len = header.take(4)?.iter();
        let len = len.fold(0, |len, byte| (len << 8) | u64::from(*byte));
        Some(version_and_exchange == 0x2022 && message_id == [0; 4] && len < message.len() as u64)
    };
    header() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_key_exchange_is_told() {
        let mut dh = vec![1; 64];
        dh.extend([0, 3, 7, 7, 7, 0, 1, 2, 0, 2, 9, 9]);
        let mut ecdh = vec![1; 64];
        ecdh.extend([3, 0, 23, 2, 4, 5]);
        for params in [dh, ecdh] {
            assert_eq!(
                read_as(&params),
                Some("ServerKeyExchange of a TLS 1.2 server")
            );
            let longer = [params.as_slice(), &[0]].concat();
            assert_eq!(read_as(&longer), None);
            assert_eq!(read_as(&params[..params.len() - 1]), None);
        }
    }

    #[test]
    fn an_ike_message_is_told() {
        let mut auth = vec![0x01; 16];
        auth.extend([33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 40]);
        auth.extend([0xff; 12 + 32 + 32]);
        assert_eq!(read_as(&auth), Some("AUTH of IKEv2"));
        auth[20] = 1;
        assert_eq!(read_as(&auth), None);
    }
}
