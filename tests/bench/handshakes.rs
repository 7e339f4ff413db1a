//! Full TLS 1.3 handshakes with a client certificate, a second: the key on the token, through signer and
//! client crate, against a key in a file. A client that calls the module itself tells what of the difference
//! is the token's. All connect to one rustls server in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::net::sockopt::set_socket_linger;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    Stream,
};
use serde::{Deserialize, Serialize};
use support::{Ca, Hsm, Kind, Signer, succeed};
use tedge_p11_client::{Client, ClientCertResolver, SocketKey};

use crate::Args;
use crate::load::{self, Measurement};
use crate::module_key::ModuleKey;
use crate::target::Target;
use crate::task::Task;
use crate::turns::Turns;

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    clients: usize,
    way: &'static str,
    /// Of the rate with the key in a file, in the same run.
    share: f64,
    measurement: Measurement,
}

/// A client's certificate, and where its P-256 key is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Identity {
    certificate: PathBuf,
    key: Key,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
enum Key {
    File(PathBuf),
    Module { module: PathBuf, uri: String },
    Token { socket: PathBuf, uri: String },
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Vec<Row>> {
    let ca = Ca::new();
    let hsm = Hsm::start_in(Kind::SoftHsm, &PathBuf::from("/dev/shm"));
    let signer = Signer::start(&hsm);
    let server = Server::start(&ca, &hsm)?;
    let identities = [
        ("key in a file", in_file(&ca)?),
        (
            "C_Sign in the client",
            on_token(&ca, &hsm, &signer, "module", |uri| Key::Module {
                module: hsm.module(),
                uri,
            }),
        ),
        (
            "signer, client library",
            on_token(&ca, &hsm, &signer, "token", |uri| Key::Token {
                socket: signer.socket().to_owned(),
                uri,
            }),
        ),
    ];
    println!("\nTLS 1.3 handshakes a second, full, both sides with P-256 certificates (SoftHSM2)");
    println!(
        "{:>7} {:24} {:>9} {:>6} {:>6} {:>9} {:>9} {:>9}",
        "clients", "way", "rate 1/s", "share", "target", "p50 us", "p99 us", "client us"
    );
    let mut rows = Vec::new();
    let (rounds, duration) = args.fine_rounds();
    for clients in CLIENTS {
        let turns = Turns::measure(identities.len(), rounds, |number| {
            let task = Task::Handshake {
                identity: identities[number].1.clone(),
                ca: ca.certificate(),
                port: server.port,
                clients,
                duration,
            };
            task.measure(&hsm)
        })?;
        for (number, (way, _)) in identities.iter().enumerate() {
            let row = Row {
                clients,
                way,
                share: turns.ratio(number, |m| m.rate),
                measurement: Measurement::merge(turns.of(number)),
            };
            let (m, target) = (
                &row.measurement,
                if number == SIGNER { ">=85%" } else { "-" },
            );
            println!(
                "{clients:>7} {way:24} {:>9.0} {:>5.1}% {target:>6} {:>9.0} {:>9.0} {:>9.0}",
                m.rate,
                row.share * 100.0,
                m.p50_us,
                m.p99_us,
                m.client_cpu_us
            );
            rows.push(row);
        }
        targets.push(Target::at_least(
            format!("handshakes, clients: {clients}: share of the rate with a key in a file"),
            turns.ratio(SIGNER, |m| m.rate) * 100.0,
            85.0,
            "%",
        ));
    }
    Ok(rows)
}

fn in_file(ca: &Ca) -> anyhow::Result<Identity> {
    ca.make_key("file", &["-out", "file.csr"]);
    let csr = std::fs::read_to_string(ca.file("file.csr"))?;
    Ok(Identity {
        certificate: ca.issue("file", &csr),
        key: Key::File(ca.file("file.key")),
    })
}

fn on_token(
    ca: &Ca,
    hsm: &Hsm,
    signer: &Signer,
    name: &str,
    key: impl Fn(String) -> Key,
) -> Identity {
    let uri = hsm.create_key(name, "p256");
    let csr = ["csr", "--common-name", name, "--uri", &uri];
    let csr = succeed(signer.tedge_hsm().args(csr));
    Identity {
        certificate: ca.issue(name, &csr),
        key: key(uri),
    }
}

/// Connects from `clients` threads, each of which has connected when the server says that it has verified
/// the client's certificate.
pub fn measure(
    identity: &Identity,
    ca: &Path,
    port: u16,
    clients: usize,
    duration: Duration,
) -> anyhow::Result<Measurement> {
    let config = Arc::new(client_config(identity, ca)?);
    let clients = (0..clients)
        .map(|_| |_: &[u8]| connect(&config, port))
        .collect();
    load::run(clients, duration, |_, answer| answer == ACCEPTED)
}

fn connect(config: &Arc<ClientConfig>, port: u16) -> anyhow::Result<Vec<u8>> {
    let mut connection = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // A reset at the end, so that no port is kept for a minute.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    let mut answer = vec![0; ACCEPTED.len()];
    Stream::new(&mut connection, &mut stream).read_exact(&mut answer)?;
    ensure!(
        connection.handshake_kind() == Some(HandshakeKind::Full),
        "a handshake was not a full one"
    );
    Ok(answer)
}

fn client_config(identity: &Identity, ca: &Path) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(ca)?);
    let mut config = match &identity.key {
        Key::File(key) => config.with_client_auth_cert(
            chain(&identity.certificate)?,
            PrivateKeyDer::from_pem_file(key)?,
        )?,
        Key::Module { module, uri } => {
            let key = ModuleKey::open(module, uri)?;
            let resolver = ClientCertResolver::new(Arc::new(key), &identity.certificate)?;
            config.with_client_cert_resolver(Arc::new(resolver))
        }
        Key::Token { socket, uri } => {
            let key = SocketKey::open(Client::new(socket), &uri.parse()?, None)?;
            let resolver = ClientCertResolver::new(Arc::new(key), &identity.certificate)?;
            config.with_client_cert_resolver(Arc::new(resolver))
        }
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub fn roots(ca: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    Ok(roots)
}

fn chain(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?)
}

/// The process of [`serve`]. It is ended when dropped.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub fn start(ca: &Ca, hsm: &Hsm) -> anyhow::Result<Self> {
        let task = Task::ServeTls {
            ca: ca.certificate(),
            certificate: ca.file("localhost.pem"),
            key: ca.file("localhost.key"),
            threads: CLIENTS.into_iter().max().unwrap_or(1),
        };
        let mut child = task
            .command(hsm)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        let mut server = Self { child, port: 0 };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        server.port = line.trim_end().parse()?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its standard input, which waiting closes.
        let _ = self.child.wait();
    }
}

/// Serves TLS 1.3 to clients with a certificate of the CA: tells each that it is accepted.
pub fn serve(ca: &Path, certificate: &Path, key: &Path, threads: usize) -> anyhow::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider.clone())
            .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(certificate)?, PrivateKeyDer::from_pem_file(key)?)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0")?);
    let listener = Arc::new(listener);
    println!("{}", listener.local_addr()?.port());
    for _ in 0..threads {
        let (config, listener) = (config.clone(), listener.clone());
        std::thread::spawn(move || {
            loop {
                // A client that was refused, or broke off, tells so itself.
                let _ = accept(&config, &listener);
            }
        });
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn accept(config: &Arc<ServerConfig>, listener: &TcpListener) -> anyhow::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut connection = ServerConnection::new(config.clone())?;
    let mut tls = Stream::new(&mut connection, &mut stream);
    // Written when the handshake is complete.
    tls.write_all(ACCEPTED)?;
    tls.flush()?;
    // Until the client is gone.
    tls.read_to_end(&mut Vec::new())?;
    Ok(())
}

const CLIENTS: [usize; 2] = [1, 4];
/// Among the identities.
const SIGNER: usize = 2;
const ACCEPTED: &[u8] = b"accepted";
