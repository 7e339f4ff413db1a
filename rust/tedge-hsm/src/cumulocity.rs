//! Cumulocity's own CA: where it is, and the token by which a device renews its certificate.
//!
//! The CA speaks EST. It issues to a device that somebody has registered with a one-time password, and renews for a
//! device that shows a token, a JWT, which it gets over MQTT with the certificate that it has.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tedge_p11_client::{Pin, PrivateKey};
use zeroize::Zeroizing;

use crate::mqtt::{Mqtt, Session};
use crate::tls;

/// Where the tenant's EST server is, on the same host as all else.
pub(crate) fn est_url(host: &str, port: u16) -> String {
    // An IPv6 address.
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match port {
        HTTPS => format!("https://{host}/.well-known/est"),
        port => format!("https://{host}:{port}/.well-known/est"),
    }
}

/// A token for the device's own HTTP requests, which the tenant gives to who is connected as the device: an empty message
/// to `s/uat` is answered on `s/dat` by `71,TOKEN`. A connection of another program with the same client id is ended by
/// the broker, and comes back by itself.
pub(crate) fn token(
    broker: &tls::Server<'_>,
    key: Arc<dyn PrivateKey>,
    client_id: &str,
    limit: Duration,
) -> anyhow::Result<Pin> {
    let fetch = || {
        let handshake = tls::connect(broker, key, limit)?;
        let mut mqtt = Mqtt::connect(handshake.stream, client_id, None, Session::Kept)?;
        mqtt.subscribe(ANSWERS)?;
        mqtt.publish(QUESTIONS, "")?;
        let token = loop {
            let (topic, payload) = mqtt.next_message()?;
            if topic == ANSWERS {
                break parse(&Zeroizing::new(payload));
            }
        };
        mqtt.disconnect();
        token
    };
    fetch().with_context(|| {
        format!(
            "cannot get a token from {} port {} with {}",
            broker.host,
            broker.port,
            Path::display(broker.cert)
        )
    })
}

/// `71,TOKEN`; of the token only that it can be part of a header (RFC 6750, section 2.1).
fn parse(payload: &[u8]) -> anyhow::Result<Pin> {
    let text = std::str::from_utf8(payload).ok();
    let token = text.and_then(|text| text.trim_end().strip_prefix("71,"));
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
    match token {
        Some(token) if token.len() <= MAX_TOKEN && token.bytes().all(is_token) => {
            Ok(Pin::new(token.to_owned())?)
        }
        _ => bail!("its answer on {ANSWERS} is not 71 and a token"),
    }
}

/// The token in an answer: for fuzz/.
#[must_use]
pub fn token_of(payload: &[u8]) -> Option<String> {
    parse(payload).ok().map(|token| token.expose().to_owned())
}

const QUESTIONS: &str = "s/uat";
const ANSWERS: &str = "s/dat";
/// IANA's port of HTTP over TLS.
pub(crate) const HTTPS: u16 = 443;
/// In bytes; a header has 8 KiB with many servers.
const MAX_TOKEN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_one() {
        assert_eq!(parse(b"71,a.b-c_d").unwrap().expose(), "a.b-c_d");
        assert_eq!(parse(b"71,a.b\n").unwrap().expose(), "a.b");
        let long = [b"71,".as_slice(), &vec![b'a'; MAX_TOKEN + 1]].concat();
        for wrong in [
            b"".as_slice(),
            b"71,",
            b"70,a",
            b"a",
            b"71,a\r\nX: y",
            b"71,a b",
            b"71,\xff",
            &long,
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("X: y"), "{error}");
        }
    }

    #[test]
    fn the_tenant_has_its_est_server_where_all_else_is() {
        assert_eq!(
            est_url("a.example", 443),
            "https://a.example/.well-known/est"
        );
        assert_eq!(est_url("::1", 8443), "https://[::1]:8443/.well-known/est");
    }
}
