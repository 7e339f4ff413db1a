//! Handshakes with `openssl s_server` 3.5, which asks for a certificate.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::broker::SServer;
use support::{Broker, fail};
use tedge_p11_client::{ClientCertResolver, WatchedKey};

use crate::rig::{Device, ML_DSA};

#[test]
fn a_server_takes_each_parameter_set() {
    let Some(device) = Device::start() else {
        return;
    };
    let server = SServer::start(&device.ca, &["-tls1_3"]);
    for (key_type, scheme, _, _) in ML_DSA {
        let (uri, certificate) = device.enrolled(key_type);
        let signed = talk(&device, &uri, &certificate, server.port).unwrap();
        assert_eq!(signed, scheme);
    }
}

/// Debian 12's mosquitto is on OpenSSL 3.0: there is nothing to sign with that it takes, and the message says so.
#[test]
fn a_server_without_ml_dsa_is_named() {
    let Some(device) = Device::start() else {
        return;
    };
    let (uri, certificate) = device.enrolled("ml-dsa-65");
    let broker = Broker::start(&device.ca);
    // The client library warns, and the command fails: two lines.
    let output = connect(&device, &uri, &certificate, broker.port).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("takes none of the signature schemes of key"),
        "{error}"
    );
    assert!(error.contains("mldsa65"), "{error}");
}

/// TLS 1.2 has no code points for it.
#[test]
fn tls12_is_not_signed() {
    let Some(device) = Device::start() else {
        return;
    };
    let (uri, certificate) = device.enrolled("ml-dsa-44");
    let server = SServer::start(&device.ca, &["-tls1_2"]);
    let error = talk(&device, &uri, &certificate, server.port).unwrap_err();
    assert!(
        error.contains("certificate required") || error.contains("HandshakeFailure"),
        "{error}"
    );
}

/// The signer dies; the next one does what it did.
#[test]
fn a_killed_signer_is_reported_and_comes_back() {
    let Some(mut device) = Device::start() else {
        return;
    };
    let (uri, certificate) = device.enrolled("ml-dsa-65");
    let server = SServer::start(&device.ca, &["-tls1_3"]);
    talk(&device, &uri, &certificate, server.port).unwrap();
    device.signer.signal(rustix::process::Signal::KILL);
    device.signer.wait();
    let error = fail(&mut connect(&device, &uri, &certificate, server.port));
    assert!(error.contains("signer.sock"), "{error}");
    device.signer = support::Signer::start(&device.hsm);
    talk(&device, &uri, &certificate, server.port).unwrap();
}

/// Has the server send a line back; the scheme that was signed with.
fn talk(device: &Device, uri: &str, certificate: &Path, port: u16) -> Result<String, String> {
    let key = Arc::new(WatchedKey::new(Arc::new(device.signer.key(uri))));
    let resolver = ClientCertResolver::new(key.clone(), certificate).unwrap();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(device.ca.certificate()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(resolver));
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let mut line = String::new();
    let sent = stream.write_all(b"abc\n").and_then(|()| stream.flush());
    sent.and_then(|()| BufReader::new(&mut stream).read_line(&mut line))
        .map_err(|error| error.to_string())?;
    assert_eq!(line, "cba\n");
    Ok(key.last().unwrap().scheme.to_string())
}

fn connect(device: &Device, uri: &str, certificate: &Path, port: u16) -> Command {
    let mut connect = device.signer.tedge_hsm();
    connect.args(["connect", "--host", "localhost", "--uri", uri, "--port"]);
    connect.arg(port.to_string()).arg("--cert").arg(certificate);
    connect.arg("--ca").arg(device.ca.certificate());
    connect
}
