//! What X25519MLKEM768 costs a client against X25519: handshakes with OpenSSL 3.5, bytes on the wire, and the memory of a
//! connection whose ClientHello is on its way. No client certificate: that is the same with both.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::net::sockopt::set_socket_linger;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection};
use serde::Serialize;
use support::{Ca, Debian13};
use tedge_tls::{PostQuantum, group_name};

use crate::Args;
use crate::counted::Counted;
use crate::handshakes::roots;
use crate::load::{self, Measurement};
use crate::memory::Process;
use crate::target::Target;
use crate::turns::Turns;

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    group: &'static str,
    /// Of the rate with X25519, in the same run.
    share: f64,
    measurement: Measurement,
    /// Bytes of a handshake.
    sent: usize,
    received: usize,
    /// Of a connection that waits for the ServerHello, in KiB.
    waiting_kib: f64,
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Vec<Row>> {
    println!(
        "\nkey exchange, TLS 1.3 handshakes with OpenSSL 3.5 without a client certificate, one client"
    );
    let Some(debian13) = Debian13::find() else {
        return Ok(Vec::new());
    };
    let ca = Ca::new();
    let server = Server::start(&debian13, &ca)?;
    println!(
        "{:16} {:>9} {:>6} {:>9} {:>9} {:>6} {:>9} {:>12}",
        "group", "rate 1/s", "share", "p50 us", "client us", "sent", "received", "waiting KiB"
    );
    let (rounds, duration) = args.fine_rounds();
    let configs = [PostQuantum::Off, PostQuantum::Require].map(|wanted| config(wanted, &ca));
    let [classical, hybrid] = configs;
    let configs = [classical?, hybrid?];
    let turns = Turns::measure(configs.len(), rounds, |number| {
        let client = |_: &[u8]| {
            handshake(&configs[number], server.port).map(|(group, ..)| group.as_bytes().to_vec())
        };
        load::run(vec![client], duration, |_, group| {
            group == GROUPS[number].as_bytes()
        })
    })?;
    let mut rows = Vec::new();
    for (number, group) in GROUPS.into_iter().enumerate() {
        let (_, sent, received) = handshake(&configs[number], server.port)?;
        let row = Row {
            group,
            share: turns.ratio(number, |m| m.rate),
            measurement: Measurement::merge(turns.of(number)),
            sent,
            received,
            waiting_kib: waiting(&configs[number])?,
        };
        let m = &row.measurement;
        println!(
            "{group:16} {:>9.0} {:>5.1}% {:>9.0} {:>9.0} {sent:>6} {received:>9} {:>12.1}",
            m.rate,
            row.share * 100.0,
            m.p50_us,
            m.client_cpu_us,
            row.waiting_kib
        );
        rows.push(row);
    }
    targets.push(Target::at_most(
        "key exchange: client's CPU for a handshake, of that with X25519".to_owned(),
        turns.ratio(1, |m| m.client_cpu_us),
        2.0,
        "times",
    ));
    Ok(rows)
}

fn config(wanted: PostQuantum, ca: &Ca) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(wanted.provider()))
        .with_protocol_versions(wanted.versions(false))?
        .with_root_certificates(roots(&ca.certificate())?)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn connection(config: &Arc<ClientConfig>) -> anyhow::Result<ClientConnection> {
    Ok(ClientConnection::new(
        config.clone(),
        "localhost".try_into()?,
    )?)
}

/// The group, and the bytes that were sent and received.
fn handshake(
    config: &Arc<ClientConfig>,
    port: u16,
) -> anyhow::Result<(&'static str, usize, usize)> {
    let mut connection = connection(config)?;
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
    // A reset at the end, so that no port is kept for a minute.
    set_socket_linger(&tcp, Some(Duration::ZERO))?;
    let mut tcp = Counted::new(tcp);
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    while connection.wants_write() {
        connection.write_tls(&mut tcp)?;
    }
    let group = group_name(&connection).context("no group")?;
    Ok((group, tcp.sent, tcp.received))
}

/// What a connection that waits for the ServerHello takes.
fn waiting(config: &Arc<ClientConfig>) -> anyhow::Result<f64> {
    let own = || Process::read(std::process::id());
    // What the first ones take is not given back.
    let make = || -> anyhow::Result<Vec<_>> {
        (0..WAITING)
            .map(|_| {
                let mut connection = connection(config)?;
                connection.write_tls(&mut io::sink())?;
                Ok(connection)
            })
            .collect()
    };
    let before = own()?.anonymous_kib;
    let connections = make()?;
    let after = own()?.anonymous_kib;
    drop(connections);
    #[allow(clippy::cast_precision_loss)]
    let one = (after - before) / WAITING as f64;
    Ok(one)
}

/// `openssl s_server`, which knows both. It is ended when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(debian13: &Debian13, ca: &Ca) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = debian13
            .command("usr/bin/openssl")
            .args(["s_server", "-quiet", "-rev", "-tls1_3", "-num_tickets", "0"])
            .args(["-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(ca.file("localhost.pem"))
            .arg("-key")
            .arg(ca.file("localhost.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "s_server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const GROUPS: [&str; 2] = ["x25519", "X25519MLKEM768"];
const WAITING: usize = 1000;
