//! `connect`: a TLS handshake with the key on the token, then MQTT.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::args::{Connect, Place};
use crate::certificate;
use crate::command::say;
use crate::mqtt::Mqtt;
use crate::pins;
use crate::store::Store;
use crate::tls;

pub(crate) fn run(store: Store, place: &Place, mut args: Connect) -> anyhow::Result<()> {
    let limit = Duration::from_secs(args.timeout);
    let store = store.with_limit(limit);
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let key = store.private_key(args.uri.as_ref(), pin)?;
    let client_id = match &args.client_id {
        Some(id) => id.clone(),
        None => common_name(&args.cert)?,
    };
    let handshake = tls::connect(
        &args.host,
        args.port,
        key.clone(),
        &args.cert,
        &args.ca,
        limit,
    )?;
    let connection = &handshake.stream.conn;
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        _ => "unknown",
    };
    // rustls tells the suites of TLS 1.3 apart by a prefix that IANA's names do not have.
    let suite = connection
        .negotiated_cipher_suite()
        .and_then(|suite| Some(suite.suite().as_str()?.replace("TLS13_", "TLS_")));
    say(format_args!(
        "connected         {}:{}",
        args.host, args.port
    ))?;
    say(format_args!("TLS version       {version}"))?;
    say(format_args!(
        "cipher suite      {}",
        suite.unwrap_or_default()
    ))?;
    match handshake.signature {
        Some((scheme, duration)) => {
            say(format_args!("signature scheme  {scheme}"))?;
            say(format_args!("key               {}", key.uri()))?;
            say(format_args!(
                "handshake         {}",
                milliseconds(handshake.duration)
            ))?;
            say(format_args!("signature         {}", milliseconds(duration)))?;
        }
        None => {
            say("signature scheme  none: the broker asked for no certificate")?;
            say(format_args!(
                "handshake         {}",
                milliseconds(handshake.duration)
            ))?;
        }
    }
    let mut mqtt = Mqtt::connect(handshake.stream, &client_id)?;
    say(format_args!(
        "CONNACK           accepted, client id {client_id}"
    ))?;
    if let Some(topic) = &args.subscribe {
        mqtt.subscribe(topic)?;
        say(format_args!("subscribed        {topic}"))?;
    }
    if let Some([topic, message]) = args.publish.as_deref() {
        mqtt.publish(topic, message)?;
        say(format_args!("published         {topic} {message}"))?;
    }
    if args.subscribe.is_some() {
        let (topic, message) = mqtt.next_message()?;
        let message = String::from_utf8_lossy(&message);
        say(format_args!("received          {topic} {message}"))?;
    }
    mqtt.disconnect();
    Ok(())
}

/// The common name of the first certificate in a PEM file.
fn common_name(path: &Path) -> anyhow::Result<String> {
    certificate::read_chain(path)?[0]
        .common_name()
        .with_context(|| {
            format!(
                "the certificate in {} has no common name; give --client-id",
                path.display()
            )
        })
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
