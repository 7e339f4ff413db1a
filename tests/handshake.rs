//! TLS handshakes with the key in a token, judged by openssl s_server and mosquitto.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};
use support::broker::SServer;
use support::hsm::PIN;
use support::{Broker, Ca, Hsm, Kind, Signer, fail, parse_uri, succeed};
use tedge_p11_client::{Client, ClientCertResolver, PrivateKey, SignatureScheme, SocketKey, Uri};

#[test]
fn tls13_ecdsa_with_softhsm() {
    let scheme = "ecdsa_secp256r1_sha256";
    shakes_hands(
        Kind::SoftHsm,
        "p256",
        &["-tls1_3"],
        ProtocolVersion::TLSv1_3,
        scheme,
    );
}

#[test]
fn tls13_p384_with_softhsm() {
    let scheme = "ecdsa_secp384r1_sha384";
    shakes_hands(
        Kind::SoftHsm,
        "p384",
        &["-tls1_3"],
        ProtocolVersion::TLSv1_3,
        scheme,
    );
}

#[test]
fn tls13_ed25519_with_softhsm() {
    shakes_hands(
        Kind::SoftHsm,
        "ed25519",
        &["-tls1_3"],
        ProtocolVersion::TLSv1_3,
        "ed25519",
    );
}

#[test]
fn tls13_rsa_pss_with_softhsm() {
    let scheme = "rsa_pss_rsae_sha256";
    shakes_hands(
        Kind::SoftHsm,
        "rsa2048",
        &["-tls1_3"],
        ProtocolVersion::TLSv1_3,
        scheme,
    );
}

/// The server names one scheme only: what it negotiates is what must be signed with.
#[test]
fn tls13_rsa_pss_sha512_with_softhsm() {
    let only = [
        "-tls1_3",
        "-client_sigalgs",
        "rsa_pss_rsae_sha512:ecdsa_secp256r1_sha256",
    ];
    let scheme = "rsa_pss_rsae_sha512";
    shakes_hands(
        Kind::SoftHsm,
        "rsa2048",
        &only,
        ProtocolVersion::TLSv1_3,
        scheme,
    );
}

/// A server of TLS 1.2 that takes rsa_pkcs1_sha256 only: where thin-edge.io's signer goes wrong.
#[test]
fn tls12_rsa_pkcs1_with_softhsm() {
    let scheme = "rsa_pkcs1_sha256";
    shakes_hands(
        Kind::SoftHsm,
        "rsa2048",
        &TLS12_PKCS1,
        ProtocolVersion::TLSv1_2,
        scheme,
    );
}

#[test]
fn tls13_ecdsa_with_tpm2() {
    let scheme = "ecdsa_secp256r1_sha256";
    shakes_hands(
        Kind::Tpm2,
        "p256",
        &["-tls1_3"],
        ProtocolVersion::TLSv1_3,
        scheme,
    );
}

#[test]
fn tls13_rsa_pss_with_tpm2() {
    let scheme = "rsa_pss_rsae_sha256";
    shakes_hands(
        Kind::Tpm2,
        "rsa2048",
        &["-tls1_3"],
        ProtocolVersion::TLSv1_3,
        scheme,
    );
}

#[test]
fn tls12_rsa_pkcs1_with_tpm2() {
    let scheme = "rsa_pkcs1_sha256";
    shakes_hands(
        Kind::Tpm2,
        "rsa2048",
        &TLS12_PKCS1,
        ProtocolVersion::TLSv1_2,
        scheme,
    );
}

const TLS12_PKCS1: [&str; 3] = ["-tls1_2", "-client_sigalgs", "RSA+SHA256"];

fn shakes_hands(
    kind: Kind,
    key_type: &str,
    server: &[&str],
    version: ProtocolVersion,
    scheme: &str,
) {
    let device = Device::new(kind, key_type);
    let server = SServer::start(&device.ca, server);
    let key = Arc::new(RecordingKey::new(device.signer.key(&device.uri)));
    let config = device.config(key.clone());
    assert_eq!(talk(&config, server.port).unwrap(), version);
    assert_eq!(*key.used.lock().unwrap(), [scheme]);
}

/// mosquitto takes the certificate's subject for the user's name.
#[test]
fn mosquitto_knows_the_device_by_its_certificate() {
    for kind in [Kind::SoftHsm, Kind::Tpm2] {
        let device = Device::new(kind, "p256");
        let broker = Broker::start(&device.ca);
        let said = succeed(device.connect(&broker).args([
            "--subscribe",
            "test/topic",
            "--publish",
            "test/topic",
            "42",
        ]));
        for expected in [
            "TLS version       1.3",
            "signature scheme  ecdsa_secp256r1_sha256",
            "CONNACK           accepted, client id device-1",
            "published         test/topic 42",
            "received          test/topic 42",
        ] {
            assert!(said.contains(expected), "no \"{expected}\" in:\n{said}");
        }
        assert!(
            said.contains(&format!("key               {}\n", device.uri)),
            "{said}"
        );
        // As `device-1 (p2, c1, k3600, u'CN=device-1')`.
        assert!(broker.log().contains("u'CN=device-1'"), "{}", broker.log());
    }
}

/// Without a signer in between.
#[test]
fn tedge_hsm_connects_straight_on_the_module() {
    let device = Device::new(Kind::SoftHsm, "p256");
    let broker = Broker::start(&device.ca);
    let mut command = device.hsm.tedge_hsm();
    device.connect_args(&mut command, &broker);
    let said = succeed(command.args(["--publish", "a", "b"]));
    assert!(said.contains("published         a b"), "{said}");
}

/// What a handshake costs: one request on the socket, one signature on the token. Finding out what
/// the key can do is done once, when it is opened.
#[test]
fn a_handshake_is_one_request_and_one_signature() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let spy = hsm.file("spy.log");
    // OpenSC's module that writes down every call on another one.
    let spy_module = Path::new("/usr/lib")
        .join(format!("{}-linux-gnu", std::env::consts::ARCH))
        .join("pkcs11/pkcs11-spy.so");
    let mut command = Signer::command(&hsm, &spy_module);
    command
        .args(["--pin", PIN])
        .env("PKCS11SPY", hsm.module())
        .env("PKCS11SPY_OUTPUT", &spy);
    let signer = Signer::spawn(&hsm, &mut command);
    let proxy = Proxy::start(&hsm, signer.socket());

    let ca = Ca::new();
    let csr = succeed(
        signer
            .tedge_hsm()
            .args(["csr", "--common-name", "x", "--uri", &uri]),
    );
    let chain = ca.issue("x", &csr);
    let server = SServer::start(&ca, &["-tls1_3"]);
    let key = SocketKey::open(Client::new(&proxy.socket), &parse_uri(uri), None).unwrap();
    let config = config(&ca, Arc::new(key), &chain);

    let calls = |name: &str| {
        let log = std::fs::read_to_string(&spy).unwrap();
        log.lines()
            .filter(|line| line.split_once(": ").is_some_and(|(_, call)| call == name))
            .count()
    };
    talk(&config, server.port).unwrap();
    let requests = proxy.requests.load(Ordering::SeqCst);
    let watched = [
        "C_SignInit",
        "C_Sign",
        "C_OpenSession",
        "C_Login",
        "C_FindObjectsInit",
    ];
    let before = watched.map(calls);
    for _ in 0..3 {
        talk(&config, server.port).unwrap();
    }
    assert_eq!(proxy.requests.load(Ordering::SeqCst) - requests, 3);
    let after = watched.map(calls);
    let spent: Vec<_> = before.iter().zip(after).map(|(b, a)| a - b).collect();
    // C_Sign is called twice for one signature: first without a buffer, which makes none, to learn
    // the length (PKCS#11 3.0, section 5.2). No session is opened, nobody logs in or searches.
    assert_eq!(spent, [3, 6, 0, 0, 0], "{watched:?}");
}

/// A renewed certificate is picked up by the next connection, without a new configuration.
#[test]
fn a_renewed_certificate_is_picked_up() {
    let device = Device::new(Kind::SoftHsm, "p256");
    let broker = Broker::start(&device.ca);
    let key = Arc::new(device.signer.key(&device.uri));
    let config = device.config(key);
    talk_mqtt(&config, broker.port);
    assert!(broker.log().contains("u'CN=device-1'"), "{}", broker.log());
    let renewed = device.issue("device-1-renewed");
    std::fs::rename(renewed, &device.chain).unwrap();
    talk_mqtt(&config, broker.port);
    assert!(
        broker.log().contains("u'CN=device-1-renewed'"),
        "{}",
        broker.log()
    );
}

/// Caught before anything is sent to the server, in words that say what is wrong.
#[test]
fn a_certificate_of_another_key_is_refused_before_the_handshake() {
    let device = Device::new(Kind::SoftHsm, "p256");
    let other = device.hsm.create_key("other", "p256");
    let key = Arc::new(device.signer.key(&other));
    let error = ClientCertResolver::new(key, &device.chain)
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not belong to the key"), "{error}");
    assert!(error.contains("object=other"), "{error}");

    // Nobody listens there: it does not come to that.
    let error = fail(
        device
            .signer
            .tedge_hsm()
            .args([
                "connect",
                "--host",
                "localhost",
                "--port",
                "1",
                "--uri",
                &other,
                "--cert",
            ])
            .arg(&device.chain)
            .arg("--ca")
            .arg(device.ca.certificate()),
    );
    assert!(error.contains("does not belong to the key"), "{error}");
}

/// The certificate is public; without the token it is worth nothing.
#[test]
fn the_certificate_without_the_token_is_refused() {
    let device = Device::new(Kind::SoftHsm, "p256");
    let broker = Broker::start(&device.ca);
    // Another key of the same kind signs in place of the token's.
    let other = device.hsm.create_key("other", "p256");
    let impostor = Arc::new(Impostor {
        public_key: device.signer.key(&device.uri),
        signer: device.signer.key(&other),
    });
    let error = try_mqtt(&device.config(impostor), broker.port).unwrap_err();
    assert!(
        error.contains("DecryptError") || error.contains("AlertReceived"),
        "{error}"
    );

    let output = device
        .ca
        .openssl()
        .args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{}", broker.port),
            "-CAfile",
            "ca.pem",
        ])
        .args(["-verify_return_error", "-tls1_3", "-ign_eof"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(said.contains("certificate required"), "{said}");
}

/// A signer that is gone fails the handshake with its own words; once back, the same configuration
/// works again.
#[test]
fn a_signer_that_comes_back_needs_no_new_configuration() {
    let mut device = Device::new(Kind::SoftHsm, "p256");
    let server = SServer::start(&device.ca, &["-tls1_3"]);
    let config = device.config(Arc::new(device.signer.key(&device.uri)));
    talk(&config, server.port).unwrap();
    device.signer.signal(rustix::process::Signal::TERM);
    device.signer.wait();
    let error = talk(&config, server.port).unwrap_err();
    assert!(error.contains("is tedge-p11-server running?"), "{error}");
    device.signer = Signer::start(&device.hsm);
    talk(&config, server.port).unwrap();
}

/// A device with a key on a token, a signer, and a certificate.
struct Device {
    signer: Signer,
    hsm: Hsm,
    ca: Ca,
    uri: String,
    chain: PathBuf,
}

impl Device {
    fn new(kind: Kind, key_type: &str) -> Self {
        let hsm = Hsm::start(kind);
        let uri = hsm.create_key("device", key_type);
        let signer = Signer::start(&hsm);
        let mut device = Self {
            signer,
            hsm,
            ca: Ca::new(),
            uri,
            chain: PathBuf::new(),
        };
        device.chain = device.issue("device-1");
        device
    }

    fn issue(&self, name: &str) -> PathBuf {
        let csr = succeed(self.signer.tedge_hsm().args([
            "csr",
            "--common-name",
            name,
            "--uri",
            &self.uri,
        ]));
        self.ca.issue(name, &csr)
    }

    fn config(&self, key: Arc<dyn PrivateKey>) -> Arc<ClientConfig> {
        config(&self.ca, key, &self.chain)
    }

    /// `tedge-hsm connect` through the signer.
    fn connect(&self, broker: &Broker) -> std::process::Command {
        let mut command = self.signer.tedge_hsm();
        self.connect_args(&mut command, broker);
        command
    }

    fn connect_args(&self, command: &mut std::process::Command, broker: &Broker) {
        command
            .args([
                "connect",
                "--host",
                "localhost",
                "--port",
                &broker.port.to_string(),
            ])
            .args(["--uri", &self.uri, "--cert"])
            .arg(&self.chain)
            .arg("--ca")
            .arg(self.ca.certificate());
    }
}

fn config(ca: &Ca, key: Arc<dyn PrivateKey>, chain: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = std::fs::read(ca.certificate()).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&certificate).unwrap())
        .unwrap();
    let resolver = ClientCertResolver::new(key, chain).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(resolver));
    // A resumed session would need no signature.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn tls(config: &Arc<ClientConfig>, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    StreamOwned::new(connection, stream)
}

/// Sends a line to s_server, which must come back reversed: the server took the client.
fn talk(config: &Arc<ClientConfig>, port: u16) -> Result<ProtocolVersion, String> {
    let mut stream = tls(config, port);
    let mut line = String::new();
    stream
        .write_all(b"hello\n")
        .and_then(|()| BufReader::new(&mut stream).read_line(&mut line))
        .map_err(|error| error.to_string())?;
    assert_eq!(line, "olleh\n");
    Ok(stream.conn.protocol_version().unwrap())
}

fn talk_mqtt(config: &Arc<ClientConfig>, port: u16) {
    try_mqtt(config, port).unwrap();
}

/// Sends MQTT's CONNECT and waits for the CONNACK that accepts it.
fn try_mqtt(config: &Arc<ClientConfig>, port: u16) -> Result<(), String> {
    let mut stream = tls(config, port);
    let connect = [&[0x10, 13, 0, 4][..], b"MQTT", &[4, 2, 0, 60, 0, 1], b"x"].concat();
    let mut ack = [0; 4];
    stream
        .write_all(&connect)
        .and_then(|()| stream.read_exact(&mut ack))
        .map_err(|error| format!("{error:?}"))?;
    assert_eq!(ack, [0x20, 2, 0, 0]);
    Ok(())
}

/// Writes down what it signs with.
#[derive(Debug)]
struct RecordingKey {
    key: SocketKey,
    used: Mutex<Vec<String>>,
}

impl RecordingKey {
    fn new(key: SocketKey) -> Self {
        Self {
            key,
            used: Mutex::default(),
        }
    }
}

impl PrivateKey for RecordingKey {
    fn uri(&self) -> &Uri {
        self.key.uri()
    }

    fn public_key(&self) -> &tedge_p11_client::PublicKey {
        self.key.public_key()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.key.schemes()
    }

    fn sign(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, tedge_p11_client::Error> {
        self.used.lock().unwrap().push(scheme.to_string());
        self.key.sign(scheme, message)
    }
}

/// Shows one key's public half and signs with another.
#[derive(Debug)]
struct Impostor {
    public_key: SocketKey,
    signer: SocketKey,
}

impl PrivateKey for Impostor {
    fn uri(&self) -> &Uri {
        self.public_key.uri()
    }

    fn public_key(&self) -> &tedge_p11_client::PublicKey {
        self.public_key.public_key()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.signer.schemes()
    }

    fn sign(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, tedge_p11_client::Error> {
        self.signer.sign(scheme, message)
    }
}

/// Passes connections on to the signer and counts them.
struct Proxy {
    socket: PathBuf,
    requests: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(hsm: &Hsm, signer: &Path) -> Self {
        let socket = hsm.file("proxy.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, signer) = (requests.clone(), signer.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let mut server = UnixStream::connect(&signer).unwrap();
                let mut request = Vec::new();
                client.read_to_end(&mut request).unwrap();
                server.write_all(&request).unwrap();
                server.shutdown(Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                server.read_to_end(&mut answer).unwrap();
                client.write_all(&answer).unwrap();
            }
        });
        Self { socket, requests }
    }
}
