//! A TLS handshake with each configured broker, to the point where it has judged the certificate. No
//! MQTT: a second connection with the device's client id would end the first. The key exchange is the bridge's, where its
//! configuration has a table for the broker.

use std::io::{self, Read as _};

use rustls::ProtocolVersion;
use tedge_file::printable;
use tedge_p11_client::{About, TlsFailure};
use tedge_p11_config::read_connections;
use tedge_proxy::{ProxyError, ProxySettings};
use tedge_tls::{PostQuantum, group_name};

use super::bridge_table::BridgeTable;
use super::certificate::Certified;
use super::context::Context;
use super::cures;
use super::report::{Area, Report};
use crate::brokers::Broker;
use crate::proxy::RunBy;
use crate::tls::{self, Handshake, ToProxy};
use crate::trust::Trust;

pub(super) fn check(context: &Context<'_>, certified: Option<&Certified>, report: &mut Report) {
    let brokers = brokers(context);
    if brokers.is_empty() {
        return report.skipped(
            Area::Broker,
            "no broker is named: give --host, or set c8y.url, az.url or aws.url in tedge.toml",
        );
    }
    let Some(certified) = certified else {
        return report.skipped(
            Area::Broker,
            "no handshake without a key and its certificate",
        );
    };
    let proxies = match context
        .args
        .proxy
        .settings_in(&context.config_dir, RunBy::Person)
    {
        Ok(proxies) => proxies,
        Err(error) => {
            return report.failure(
                Area::Broker,
                format!("{error:#}"),
                "correct it: http://HOST[:PORT], and the user and the password in settings of their own (docs/proxy.md)",
            );
        }
    };
    for broker in brokers {
        check_broker(context, &broker, certified, &proxies, report);
    }
}

/// By flags, else all in tedge.toml.
fn brokers(context: &Context<'_>) -> Vec<Broker> {
    let args = &context.args;
    let connections = read_connections(&context.config_dir.join("tedge.toml")).unwrap_or_default();
    let (host, ca) = (args.host.as_deref(), args.ca.as_deref());
    crate::brokers::brokers(connections, &context.root, host, args.port, ca)
}

fn check_broker(
    context: &Context<'_>,
    broker: &Broker,
    certified: &Certified,
    proxies: &ProxySettings,
    report: &mut Report,
) {
    let (host, port) = (&broker.host, broker.port);
    let proxy = match proxies.for_host(host) {
        Some(proxy) => format!(" through the proxy {proxy}"),
        None => String::new(),
    };
    let (post_quantum, why) = match BridgeTable::of(broker, &context.bridge_path()) {
        Some(BridgeTable { name, post_quantum }) => {
            let name = printable(&name);
            let why =
                format!(", post_quantum = \"{post_quantum}\" as in the bridge's [cloud.{name}]");
            (post_quantum, why)
        }
        None => (PostQuantum::default(), String::new()),
    };
    let way = proxy + &why;
    let connect = |trust: Trust| {
        let server = tls::Server {
            host,
            port,
            cert: &certified.chain,
            trust: &trust,
            alpn: &[],
            proxies,
            post_quantum,
        };
        let handshake = tls::connect(&server, certified.key.clone(), context.limit)?;
        let version = handshake.stream.conn.protocol_version();
        let group = group_name(&handshake.stream.conn).unwrap_or("another key exchange");
        let signature = handshake.signature;
        verdict(handshake).map_err(|error| tls::explain(&error))?;
        Ok((version, group, signature))
    };
    let result = Trust::read(&broker.ca).and_then(connect);
    match result {
        Err(error) => report.failure(
            Area::Broker,
            format!("{host} port {port}{way}: {error:#}"),
            cure(&error, broker),
        ),
        Ok((_, _, None)) => report.warning(
            Area::Broker,
            format!("{host} port {port}{way} asked for no certificate"),
            "is this the port for clients with certificates? It is usually 8883",
        ),
        Ok((Some(ProtocolVersion::TLSv1_3), group, Some((scheme, _)))) => report.ok(
            Area::Broker,
            format!(
                "{host} port {port}{way}: TLS 1.3 with {group} and {scheme}, and the certificate is accepted"
            ),
        ),
        Ok((_, _, Some((scheme, _)))) => report.warning(
            Area::Broker,
            format!("{host} port {port}{way}: the broker refuses TLS 1.3; TLS 1.2 with {scheme}, and the \
                 certificate is accepted"),
            "have the broker speak TLS 1.3; until then the signer's rules need the purpose tls12-client",
        ),
    }
}

/// Says goodbye and waits for the server to do so. In TLS 1.3 it judges the client's certificate before
/// it reads anything else, so if it refuses, its alert comes first.
fn verdict(mut handshake: Handshake) -> io::Result<()> {
    handshake.stream.sock.restart();
    handshake.stream.conn.send_close_notify();
    let mut chunk = [0; 1024];
    loop {
        match handshake.stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It closed without a goodbye, as many do.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn cure(error: &anyhow::Error, broker: &Broker) -> String {
    let tls = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<TlsFailure>());
    if let Some(TlsFailure {
        cure: Some(cure),
        about,
        ..
    }) = tls
    {
        return match about {
            About::ServerCertificate => format!(
                "{cure}; the CAs are those in {}: --ca, or root_cert_path in tedge.toml, has others",
                broker.ca.display()
            ),
            _ => cure.clone(),
        };
    }
    let text = format!("{error:#}");
    if text.contains("cannot read certificates") {
        return "give the CA of the broker's certificate by --ca".to_owned();
    }
    if let Some(proxy) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ProxyError>())
    {
        return proxy.cure().to_owned();
    }
    if error.chain().any(<dyn std::error::Error>::is::<ToProxy>) {
        return "is this the address of the proxy (--proxy, or proxy.address in tedge.toml), and does it run?".to_owned();
    }
    let os = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    match os.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "is this the right host and port, and does the broker run?".to_owned()
        }
        Some(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            "a firewall may drop the packets: is the port open from here?".to_owned()
        }
        Some(_) => {
            "see whether the name resolves (getent hosts NAME) and there is a route (ip route)"
                .to_owned()
        }
        None => cures::of(&text),
    }
}
