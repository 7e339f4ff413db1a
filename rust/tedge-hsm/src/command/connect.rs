//! `connect`: a TLS handshake with the key on the token, then MQTT.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tedge_file::printable;
use tedge_p11_client::{Pin, Uri};

use crate::certificate;
use crate::mqtt::{Mqtt, Session};
use crate::output::{milliseconds, say};
use crate::own_file;
use crate::pins;
use crate::place::Place;
use crate::post_quantum;
use crate::proxy::{self, RunBy};
use crate::store::Store;
use crate::tls;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The TLS handshake uses the key on the token. Then MQTT connects, with the certificate's common name as client id.

Examples:
  tedge-hsm connect --host BROKER --cert device.pem --ca ca.pem
  tedge-hsm connect --host BROKER --cert device.pem --ca ca.pem --subscribe a/b --publish a/b hello
  tedge-hsm connect --host ID.iot.REGION.amazonaws.com --port 443 --alpn x-amzn-mqtt-ca \\
    --cert device.pem --ca ca.pem
  tedge-hsm connect --host BROKER --username NAME --password-file FILE --cert device.pem --ca ca.pem")]
pub(crate) struct Args {
    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Host name or address of the broker; it must be in the broker's certificate
    #[arg(long)]
    host: String,

    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    port: u16,

    /// PEM or DER file with the key's certificate, in PEM with its chain
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,

    /// PEM or DER file with the CA certificates that verify the broker's
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,

    /// MQTT client id [default: the certificate's common name]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// User name for MQTT, which some clouds want in addition to the certificate
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// File with the user's password for MQTT
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,

    /// Application protocol to offer (ALPN), such as AWS's x-amzn-mqtt-ca for port 443; may be repeated
    #[arg(long, value_name = "NAME", value_parser = alpn)]
    alpn: Vec<String>,

    /// Publish this message with QoS 1
    #[arg(long, num_args = 2, value_names = ["TOPIC", "MESSAGE"])]
    publish: Option<Vec<String>>,

    /// Subscribe to this topic and wait for one message
    #[arg(long, value_name = "TOPIC")]
    subscribe: Option<String>,

    /// Time limit for each step, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    #[command(flatten)]
    post_quantum: post_quantum::Args,

    #[command(flatten)]
    proxy: proxy::Args,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let limit = Duration::from_secs(args.timeout);
    let store = store.with_limit(limit);
    store.prefer_key_of(&args.cert);
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let key = store.private_key(args.uri.as_ref(), pin)?;
    let client_id = match &args.client_id {
        Some(id) => id.clone(),
        None => common_name(&args.cert)?,
    };
    let password = match &args.password_file {
        Some(path) => Some(Pin::read_file(path).context("--password-file")?),
        None => None,
    };
    let proxies = args.proxy.settings(RunBy::Person)?;
    let trust = own_file::trust_for(&args.ca, password.is_some())?;
    let server = tls::Server {
        host: &args.host,
        port: args.port,
        cert: &args.cert,
        trust: &trust,
        alpn: &args.alpn,
        proxies: &proxies,
        post_quantum: args.post_quantum.wanted(),
    };
    let handshake = tls::connect(&server, key.clone(), limit)?;
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
    if let Some(proxy) = proxies.for_host(&args.host) {
        say(format_args!("proxy             {proxy}"))?;
    }
    say(format_args!("TLS version       {version}"))?;
    say(format_args!(
        "cipher suite      {}",
        suite.unwrap_or_default()
    ))?;
    say(format_args!(
        "key exchange      {}",
        tedge_tls::group_name(connection).unwrap_or("unknown")
    ))?;
    if let Some(name) = connection.alpn_protocol() {
        let name = printable(&String::from_utf8_lossy(name));
        say(format_args!("ALPN              {name}"))?;
    } else if !args.alpn.is_empty() {
        say("ALPN              none: the broker does not look at it")?;
    }
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
    let login = args.username.as_deref();
    let login = login.map(|user| (user, password.as_ref()));
    let mut mqtt = Mqtt::connect(handshake.stream, &client_id, login, Session::Clean)?;
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
        let message = format!("{topic} {}", String::from_utf8_lossy(&message));
        say(format_args!("received          {}", printable(&message)))?;
    }
    mqtt.disconnect();
    Ok(())
}

/// The common name of the first certificate in a file.
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

/// A protocol's name has 1 to 255 bytes (RFC 7301, section 3.1).
fn alpn(name: &str) -> Result<String, String> {
    match name.len() {
        1..=255 => Ok(name.to_owned()),
        _ => Err("it has 1 to 255 bytes".to_owned()),
    }
}
