//! `connect`: a TLS handshake with the key on the token, then MQTT.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tedge_p11_client::Uri;

use crate::certificate;
use crate::mqtt::Mqtt;
use crate::output::{milliseconds, say};
use crate::pins;
use crate::place::Place;
use crate::store::Store;
use crate::tls;
use crate::uri_parser::UriParser;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// URI of the key; the one configured at the signer without
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Host name or address of the broker, as its certificate has it
    #[arg(long)]
    host: String,

    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    port: u16,

    /// PEM file with the certificate chain of the key
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,

    /// PEM file with the certificates that the broker's is verified with
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,

    /// MQTT client id; the certificate's common name without
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// Publish this message with QoS 1
    #[arg(long, num_args = 2, value_names = ["TOPIC", "MESSAGE"])]
    publish: Option<Vec<String>>,

    /// Subscribe to this topic and wait for one message
    #[arg(long, value_name = "TOPIC")]
    subscribe: Option<String>,

    /// Seconds that each step may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

pub(crate) fn run(store: Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
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
