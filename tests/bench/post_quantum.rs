//! What ML-DSA and X25519MLKEM768 cost: full TLS 1.3 handshakes with `openssl s_server` 3.5, which asks for a certificate, one after the
//! other. The keys are in Kryoptic, behind the signer. All ways against P-256, in turns in one run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::Serialize;
use support::broker::SServer;
use support::{Ca, Hsm, Kind, Signer, succeed};
use tedge_p11_client::ClientCertResolver;
use tedge_tls::PostQuantum;

use crate::Args;
use crate::counted::Counted;
use crate::memory::Process;
use crate::turns::Turns;

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    key: &'static str,
    key_exchange: &'static str,
    handshakes_per_second: f64,
    /// Of those with P-256.
    share: f64,
    /// Bytes of a connection, both ways.
    sent: f64,
    received: f64,
    /// Bytes of the certificate in DER.
    certificate: usize,
    /// The signer's anonymous memory.
    signer_kib: f64,
}

#[derive(Clone, Copy)]
struct Measurement {
    rate: f64,
    sent: f64,
    received: f64,
    signer_kib: f64,
}

struct Way {
    key: &'static str,
    exchange: PostQuantum,
    config: Arc<ClientConfig>,
    certificate: usize,
    signer: Signer,
    // Its files are the signer's.
    _hsm: Hsm,
}

pub fn run(args: &Args) -> anyhow::Result<Vec<Row>> {
    let mut ways: Vec<Way> = Vec::new();
    let mut ca = None;
    for (key, exchange) in [
        ("p256", PostQuantum::Off),
        ("p256", PostQuantum::Require),
        ("ml-dsa-65", PostQuantum::Off),
        ("ml-dsa-44", PostQuantum::Require),
        ("ml-dsa-65", PostQuantum::Require),
        ("ml-dsa-87", PostQuantum::Require),
    ] {
        let Some(hsm) = Hsm::start_if_possible(Kind::Kryoptic) else {
            return Ok(Vec::new());
        };
        let ca = ca.get_or_insert_with(|| Ca::by(&hsm.openssl()));
        ways.push(Way::new(key, exchange, hsm, ca)?);
    }
    let ca = ca.context("no way")?;
    let server = SServer::start(&ca, &["-tls1_3", "-naccept", "100000000"]);
    println!(
        "\nTLS 1.3 handshakes with post-quantum keys (Kryoptic, openssl s_server 3.5, one client)"
    );
    println!(
        "{:10} {:15} {:>9} {:>6} {:>8} {:>8} {:>11} {:>10}",
        "key", "key exchange", "rate 1/s", "share", "sent", "received", "certificate", "signer KiB"
    );
    let (rounds, duration) = args.fine_rounds();
    let turns = Turns::measure(ways.len(), rounds, |number| {
        let way = &ways[number];
        let (started, mut count, mut bytes) = (Instant::now(), 0_u32, (0, 0));
        while started.elapsed() < duration {
            bytes = handshake(&way.config, server.port)?;
            count += 1;
        }
        #[allow(clippy::cast_precision_loss)]
        let (sent, received) = (bytes.0 as f64, bytes.1 as f64);
        Ok(Measurement {
            rate: f64::from(count) / started.elapsed().as_secs_f64(),
            sent,
            received,
            signer_kib: Process::read(way.signer.pid())?.anonymous_kib,
        })
    })?;
    let mut rows = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        let row = Row {
            key: way.key,
            key_exchange: way.exchange_name(),
            handshakes_per_second: turns.median(number, |m| m.rate),
            share: turns.ratio(number, |m| m.rate),
            sent: turns.median(number, |m| m.sent),
            received: turns.median(number, |m| m.received),
            certificate: way.certificate,
            signer_kib: turns.median(number, |m| m.signer_kib),
        };
        println!(
            "{:10} {:15} {:>9.0} {:>5.1}% {:>8.0} {:>8.0} {:>11} {:>10.0}",
            row.key,
            row.key_exchange,
            row.handshakes_per_second,
            row.share * 100.0,
            row.sent,
            row.received,
            row.certificate,
            row.signer_kib
        );
        rows.push(row);
    }
    Ok(rows)
}

impl Way {
    fn exchange_name(&self) -> &'static str {
        match self.exchange {
            PostQuantum::Off => "X25519",
            PostQuantum::Prefer | PostQuantum::Require => "X25519MLKEM768",
        }
    }

    fn new(key: &'static str, exchange: PostQuantum, hsm: Hsm, ca: &Ca) -> anyhow::Result<Self> {
        let uri = hsm.create_key(key, key);
        let signer = Signer::start(&hsm);
        let mut csr = signer.tedge_hsm();
        let csr = succeed(csr.args(["csr", "--common-name", key, "--uri", &uri]));
        // A file of its own: it is read for each connection.
        let certificate: PathBuf = ca.issue(&format!("{key}-{}", signer.pid()), &csr);
        let resolver = ClientCertResolver::new(Arc::new(signer.key(&uri)), &certificate)?;
        Ok(Self {
            key,
            exchange,
            config: Arc::new(config(ca, exchange, resolver)?),
            certificate: CertificateDer::from_pem_file(&certificate)?.len(),
            signer,
            _hsm: hsm,
        })
    }
}

fn config(
    ca: &Ca,
    exchange: PostQuantum,
    resolver: ClientCertResolver,
) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca.certificate())?)?;
    let provider = Arc::new(exchange.provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(resolver));
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A whole connection; the bytes that were sent and received.
fn handshake(config: &Arc<ClientConfig>, port: u16) -> anyhow::Result<(usize, usize)> {
    let connection = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let counted = Counted::new(socket);
    let mut stream = StreamOwned::new(connection, counted);
    stream.write_all(b"abc\n")?;
    stream.flush()?;
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line)?;
    ensure!(line == "cba\n", "s_server answered {line:?}");
    Ok((stream.sock.sent, stream.sock.received))
}
