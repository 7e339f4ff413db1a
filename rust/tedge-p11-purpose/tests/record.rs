//! Records what a rustls client is asked to sign in handshakes with `openssl s_server`. Run by
//! `tests/messages/make`; the tests need only what it recorded.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test's helpers too

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SignatureAlgorithm, SignatureScheme, Stream,
    SupportedProtocolVersion,
};

#[test]
#[ignore = "writes into the tree; run by tests/messages/make"]
fn record_handshakes() {
    let pki = env::var("PKI").expect("PKI from tests/messages/make");
    let messages = env::var("MESSAGES").expect("MESSAGES from tests/messages/make");
    for key in ["p256", "p384", "rsa", "ed25519"] {
        // A client that knows both versions, as any does; the server picks.
        for (name, option) in [("tls12", "-tls1_2"), ("tls13", "-tls1_3")] {
            let (scheme, message) = handshake(Path::new(&pki), key, option, &[&TLS12, &TLS13]);
            let file = format!("{key}-{name}-{:04x}.bin", u16::from(scheme));
            fs::write(Path::new(&messages).join(file), message).unwrap();
        }
    }
}

/// Scheme and message of the one signature in a handshake that succeeds.
fn handshake(
    pki: &Path,
    key: &str,
    version: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> (SignatureScheme, Vec<u8>) {
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-naccept",
            "1",
            "-www",
        ])
        .args(["-Verify", "1", "-verify_return_error", version])
        .args([
            "-cert",
            "server.pem",
            "-key",
            "server.key",
            "-CAfile",
            "ca.pem",
        ])
        .current_dir(pki)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Kept open: s_server goes on to print.
    let mut output = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = output
        .find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()))
        .expect("s_server says where it listens");

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(pki.join("ca.pem")).unwrap())
        .unwrap();
    let recorder = Arc::new(Recorder {
        key: any_supported_type(
            &PrivateKeyDer::from_pem_file(pki.join(format!("{key}.key"))).unwrap(),
        )
        .unwrap(),
        signed: Arc::default(),
    });
    let certificate = CertificateDer::from_pem_file(pki.join(format!("{key}.pem"))).unwrap();
    let certified = CertifiedKey::new(vec![certificate], recorder.clone());
    let config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(Always(Arc::new(certified))));
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The server ends without close_notify; that it answers shows that it took the signature.
    let _ = stream.read_to_end(&mut answer);
    drop(socket);
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{key} {version}");
    server.wait().unwrap();
    let mut signed = recorder.signed.lock().unwrap();
    assert_eq!(signed.len(), 1);
    signed.remove(0)
}

type Signed = Arc<Mutex<Vec<(SignatureScheme, Vec<u8>)>>>;

#[derive(Debug)]
struct Recorder {
    key: Arc<dyn SigningKey>,
    signed: Signed,
}

impl SigningKey for Recorder {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(RecordingSigner {
            signer: self.key.choose_scheme(offered)?,
            signed: self.signed.clone(),
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

#[derive(Debug)]
struct RecordingSigner {
    signer: Box<dyn Signer>,
    signed: Signed,
}

impl Signer for RecordingSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut signed = self.signed.lock().unwrap();
        signed.push((self.scheme(), message.to_vec()));
        self.signer.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
