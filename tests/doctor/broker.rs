//! Certificates, and brokers that take them or not.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::broker::SServer;
use support::{Broker, Ca, Debian13, Signer, succeed};

use crate::{Bench, Findings};

/// A device with a certificate, and a CA that issued it.
struct Device {
    /// Ends before the folder goes that it logs into.
    signer: Signer,
    bench: Bench,
    ca: Ca,
    uri: String,
    cert: PathBuf,
}

impl Device {
    fn new() -> Self {
        let bench = Bench::new();
        let uri = bench.hsm.create_key("tls", "p256");
        let signer = Signer::start_with_default_policy(&bench.hsm);
        let ca = Ca::new();
        let csr = request(&signer, &uri);
        let cert = ca.issue("device", &csr);
        Self {
            signer,
            bench,
            ca,
            uri,
            cert,
        }
    }

    fn doctor(&self, port: u16) -> Command {
        self.doctor_with(&self.cert, "localhost", port, &self.ca.certificate())
    }

    fn doctor_with(&self, cert: &Path, host: &str, port: u16, ca: &Path) -> Command {
        let mut command = self.bench.through(&self.signer);
        command.args(["--host", host, "--port", &port.to_string(), "--cert"]);
        command.arg(cert).arg("--ca").arg(ca);
        command
    }

    /// Without a broker.
    fn with_cert(&self, cert: &Path) -> Command {
        let mut command = self.bench.through(&self.signer);
        command.arg("--cert").arg(cert);
        command
    }
}

fn request(signer: &Signer, uri: &str) -> String {
    succeed(
        signer
            .tedge_hsm()
            .args(["csr", "--common-name", "device-1", "--uri", uri]),
    )
}

#[test]
fn a_healthy_device() {
    let device = Device::new();
    let broker = Broker::start(&device.ca);
    let findings = Findings::of(&mut device.doctor(broker.port));
    findings.are_good();
    findings.ok("certificate", "is valid until");
    findings.ok("certificate", "is for key");
    findings.ok(
        "broker",
        " and ecdsa_secp256r1_sha256, and the certificate is accepted",
    );
}

/// What an operator has said once in tedge.toml need not be said again.
#[test]
fn a_device_by_its_tedge_toml() {
    let device = Device::new();
    let broker = Broker::start(&device.ca);
    let config = format!(
        "[device]\ncert_path = \"{}\"\n[device.cryptoki]\nsocket_path = \"{}\"\n\
         [c8y]\nurl = \"nowhere.invalid\"\nmqtt = \"localhost:{}\"\nroot_cert_path = \"{}\"\n",
        device.cert.display(),
        device.signer.socket().display(),
        broker.port,
        device.ca.certificate().display(),
    );
    std::fs::write(device.bench.hsm.file("tedge.toml"), config).unwrap();
    let mut command = Command::new(support::program("tedge-hsm"));
    command.args(["doctor", "--json", "--config-dir"]);
    command.arg(device.bench.hsm.dir.path());
    let findings = Findings::of(&mut command);
    findings.ok("signer", "signer.sock");
    findings.ok("broker", "the certificate is accepted");
}

/// A broker that the bridge would not connect to is no good one, and doctor offers no key exchange that the bridge leaves out.
#[test]
fn the_key_exchange_is_that_of_the_bridge() {
    let device = Device::new();
    let findings = |port: u16, word: &str| {
        let table = format!(
            "[cloud.c8y]\nhost = \"localhost\"\nport = {port}\npost_quantum = \"{word}\"\n"
        );
        std::fs::write(device.bench.hsm.file("tedge-hsm-bridge.toml"), table).unwrap();
        Findings::of(&mut device.doctor(port))
    };
    let classical = SServer::start(&device.ca, &["-groups", "X25519:P-256"]);
    findings(classical.port, "prefer").ok("broker", "TLS 1.3 with x25519 and");
    findings(classical.port, "require").failure(
        "broker",
        "the server does not take the key exchange X25519MLKEM768",
        "or do not require it",
    );
    findings(classical.port, "off").ok(
        "broker",
        "post_quantum = \"off\" as in the bridge's [cloud.c8y]: TLS 1.3",
    );
    let Some(debian13) = Debian13::find() else {
        return;
    };
    let hybrid = SServer::start_by(debian13.command("usr/bin/openssl"), &device.ca, &[]);
    findings(hybrid.port, "require").ok("broker", "TLS 1.3 with X25519MLKEM768 and");
    findings(hybrid.port, "off").ok("broker", "TLS 1.3 with x25519 and");
    // Root's file goes before that one.
    let port = hybrid.port;
    device.bench.write(
        "etc/tedge-hsm/tedge-hsm-bridge.toml",
        &format!("[cloud.own]\nhost = \"localhost\"\nport = {port}\npost_quantum = \"require\"\n"),
    );
    findings(port, "off").ok("broker", "[cloud.own]: TLS 1.3 with X25519MLKEM768 and");
}

#[test]
fn a_certificate_of_another_key() {
    let device = Device::new();
    let other = device.bench.hsm.create_key("other", "p256");
    let cert = device.ca.issue("other", &request(&device.signer, &other));
    let mut command = device.with_cert(&cert);
    command.args(["--uri", &device.uri]);
    let findings = Findings::of(&mut command);
    findings.failure(
        "certificate",
        "is for none of the keys",
        "tedge-hsm csr --uri",
    );
}

/// The certificate is for two days from now.
#[test]
fn certificates_at_other_times() {
    let device = Device::new();
    for (time, state, what, cure) in [
        ("+10d", "failure", "expired on", "tedge-hsm csr"),
        ("-10d", "failure", "is not valid before", "set the clock"),
        ("+47h", "warning", "expires on", "tedge-hsm csr"),
    ] {
        let command = device.with_cert(&device.cert);
        let mut at = Command::new("faketime");
        at.args(["-f", time])
            .arg(command.get_program())
            .args(command.get_args());
        Findings::of(&mut at).has(state, "certificate", what, cure);
    }
}

#[test]
fn a_certificate_for_servers_or_none() {
    let device = Device::new();
    let findings = Findings::of(&mut device.with_cert(&device.ca.file("localhost.pem")));
    findings.failure("certificate", "lacks clientAuth", "tedge-hsm csr");
    let findings = Findings::of(&mut device.with_cert(&device.bench.hsm.file("pin")));
    findings.failure(
        "certificate",
        "there is no certificate in it",
        "tedge-hsm csr",
    );
}

/// With TLS 1.3 the broker's verdict comes after the handshake.
#[test]
fn a_certificate_that_the_broker_does_not_know() {
    let device = Device::new();
    let other = Ca::new();
    let cert = other.issue("device", &request(&device.signer, &device.uri));
    let mosquitto = Broker::start(&device.ca);
    let openssl = SServer::start(&device.ca, &["-tls1_3"]);
    let older = SServer::start(&device.ca, &["-tls1_2"]);
    for port in [mosquitto.port, openssl.port, older.port] {
        let mut command = device.doctor_with(&cert, "localhost", port, &device.ca.certificate());
        let findings = Findings::of(&mut command);
        findings.failure("broker", "refused the client certificate", "trust the CA");
    }
}

#[test]
fn a_broker_that_is_not_there() {
    let device = Device::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let findings = Findings::of(&mut device.doctor(port));
    findings.failure("broker", "Connection refused", "does the broker run?");
    let mut command = device.doctor_with(
        &device.cert,
        "broker.invalid",
        8883,
        &device.ca.certificate(),
    );
    Findings::of(&mut command).failure("broker", "broker.invalid", "getent hosts");
}

#[test]
fn a_broker_of_another_ca_or_name() {
    let device = Device::new();
    let broker = Broker::start(&device.ca);
    let other = Ca::new();
    let mut command =
        device.doctor_with(&device.cert, "localhost", broker.port, &other.certificate());
    Findings::of(&mut command).failure(
        "broker",
        "is not signed by the key of the CA",
        "--ca, or root_cert_path",
    );
    let mut command = device.doctor_with(
        &device.cert,
        "127.0.0.1",
        broker.port,
        &device.ca.certificate(),
    );
    Findings::of(&mut command).failure(
        "broker",
        "is not for 127.0.0.1, but for localhost",
        "name the server",
    );
}

#[test]
fn a_broker_without_tls13() {
    let device = Device::new();
    let broker = SServer::start(&device.ca, &["-tls1_2"]);
    let findings = Findings::of(&mut device.doctor(broker.port));
    findings.warning("broker", "refuses TLS 1.3", "tls12-client");
}
