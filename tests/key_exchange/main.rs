//! The hybrid key exchange X25519MLKEM768, its settings, and what is done without it. OpenSSL 3.5 and mosquitto of Debian 13
//! judge, and openssl and mosquitto of this machine, which may know nothing of it.

mod bridge;
mod middlebox;
mod server;

use support::{Ca, Debian13, Device};

use crate::middlebox::{Middlebox, Way};
use crate::server::Server;

const REQUIRE: &str = "--require-post-quantum";

/// `connect` to a port: what it said of the connection, and why it failed. The servers are no brokers, so that it fails
/// in the end; what counts is how far it gets.
fn connect(device: &Device, port: u16, more: &[&str]) -> (String, String) {
    let mut command = device.connect(port);
    // s_server sends back each line the other way round: a CONNACK that is none, so that nobody waits.
    command.args(more).args(["--client-id", "a\u{1}\u{20}\n"]);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn openssl_3_5_agrees_on_it() {
    let Some(debian13) = Debian13::find() else {
        return;
    };
    let device = Device::start();
    for groups in [&[][..], &["-groups", "X25519MLKEM768"]] {
        let server = Server::start(debian13.command("usr/bin/openssl"), &device.ca, groups);
        for more in [&[][..], &[REQUIRE]] {
            let (seen, said) = connect(&device, server.port, more);
            assert!(
                seen.contains("\nkey exchange      X25519MLKEM768\n"),
                "{seen}{said}"
            );
            assert!(seen.contains("\nTLS version       1.3\n"), "{seen}");
            assert!(
                seen.contains("signature scheme  ecdsa_secp256r1_sha256"),
                "{seen}"
            );
        }
        // The server's word on it, and that it has asked for no second ClientHello.
        let log = server.await_established(2);
        assert_eq!(
            log.matches("Peer Temp Key: X25519MLKEM768").count(),
            2,
            "{log}"
        );
        assert_eq!(log.matches("Handshake [length 05").count(), 2, "{log}");
        assert_eq!(log.matches(", ClientHello").count(), 2, "{log}");
    }
}

#[test]
fn servers_without_it_need_no_second_round_trip() {
    let device = Device::start();
    let server = Server::start_here(&device.ca, &["-groups", "X25519:P-256"]);
    let (seen, said) = connect(&device, server.port, &[]);
    assert!(
        seen.contains("\nkey exchange      x25519\n"),
        "{seen}{said}"
    );
    assert!(seen.contains("\nTLS version       1.3\n"), "{seen}");
    let log = server.await_established(1);
    assert_eq!(log.matches(", ClientHello").count(), 1, "{log}");
    assert_eq!(log.matches(", ServerHello").count(), 1, "{log}");

    // One without X25519 asks for what it has.
    let server = Server::start_here(&device.ca, &["-groups", "P-256"]);
    let (seen, said) = connect(&device, server.port, &[]);
    assert!(
        seen.contains("\nkey exchange      secp256r1\n"),
        "{seen}{said}"
    );
    let log = server.await_established(1);
    assert_eq!(log.matches(", ClientHello").count(), 2, "{log}");

    let server = Server::start_here(&device.ca, &["-tls1_2"]);
    let (seen, said) = connect(&device, server.port, &[]);
    assert!(seen.contains("\nTLS version       1.2\n"), "{seen}{said}");
    let log = server.await_established(1);
    assert_eq!(log.matches(", ClientHello").count(), 1, "{log}");
}

#[test]
fn what_is_required_and_not_there_is_one_line() {
    let device = Device::start();
    for (args, why) in [
        (
            &["-groups", "X25519:P-256"][..],
            "(TLS alert handshake_failure)",
        ),
        (&["-tls1_2"], "as it has no TLS 1.3"),
    ] {
        let server = Server::start_here(&device.ca, args);
        let middlebox = Middlebox::start(server.port, Way::Pass);
        let (seen, said) = connect(&device, middlebox.port, &[REQUIRE]);
        assert_eq!(seen, "");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("does not take the key exchange X25519MLKEM768"),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
        assert!(said.contains("which is required here"), "{said}");
        assert_eq!(middlebox.connections(), 1);
    }
}

/// What has been seen of devices that expect a ClientHello in one packet.
#[test]
fn a_middlebox_that_takes_no_large_client_hello_is_got_around_once() {
    let device = Device::start();
    let server = Server::start_here(&device.ca, &[]);
    for way in [Way::Close, Way::Reset, Way::Drop, Way::Alert] {
        let middlebox = Middlebox::start(server.port, way);
        let limit = if way == Way::Drop { "8" } else { "30" };
        let (seen, said) = connect(&device, middlebox.port, &["--timeout", limit]);
        assert!(
            seen.contains("\nkey exchange      x25519\n"),
            "{way:?}: {seen}{said}"
        );
        let told = "did not answer the ClientHello with X25519MLKEM768, and answers one without";
        assert_eq!(said.matches(told).count(), 1, "{way:?}: {said}");
        assert_eq!(middlebox.connections(), 2, "{way:?}");
        assert_eq!(middlebox.sizes().len(), 2);
        assert!(middlebox.sizes()[0] > 1400 && middlebox.sizes()[1] < 1400);

        let middlebox = Middlebox::start(server.port, way);
        let (seen, said) = connect(&device, middlebox.port, &[REQUIRE, "--timeout", "3"]);
        assert_eq!(seen, "");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("did not answer the ClientHello with X25519MLKEM768, which is required"),
            "{said}"
        );
        assert_eq!(middlebox.connections(), 1, "{way:?}");
    }
}

#[test]
fn one_more_attempt_is_all_there_is() {
    let device = Device::start();
    let server = Server::start_here(&device.ca, &[]);
    let middlebox = Middlebox::start(server.port, Way::CloseAll);
    let (seen, said) = connect(&device, middlebox.port, &[]);
    assert_eq!(seen, "");
    // As if there had been one.
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("the server closed the connection"), "{said}");
    assert_eq!(middlebox.connections(), 2);
}

#[test]
fn a_certificate_that_is_refused_is_not_tried_again() {
    let device = Device::start();
    let other = Ca::new();
    // A server of another CA; and one that does not know the client's.
    let server = Server::start_here(&other, &[]);
    let middlebox = Middlebox::start(server.port, Way::Pass);
    let (_, said) = connect(&device, middlebox.port, &[]);
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(middlebox.connections(), 1);
    let mut command = device.signer.tedge_hsm();
    command.args(["connect", "--host", "localhost", "--uri", &device.uri]);
    command.args(["--port", &middlebox.port.to_string(), "--cert"]);
    command
        .arg(&device.cert)
        .arg("--ca")
        .arg(other.certificate());
    let said = support::fail(&mut command);
    assert!(said.contains("refused the client certificate"), "{said}");
    assert_eq!(middlebox.connections(), 2);
}

/// HTTPS goes by the same.
#[test]
fn an_est_server_behind_a_middlebox() {
    let device = Device::start();
    let est = support::est::EstServer::start(&device.ca);
    let renew = |port: u16, more: &[&str]| {
        let mut renew = device.signer.tedge_hsm();
        renew.args(["renew", "--uri", &device.uri, "--est"]);
        renew.arg(format!("https://localhost:{port}"));
        renew.arg("--cert").arg(&device.cert);
        renew.arg("--ca").arg(device.ca.certificate()).args(more);
        renew
    };
    let middlebox = Middlebox::start(est.port(), Way::Close);
    let said = support::fail(&mut renew(middlebox.port, &[REQUIRE]));
    assert!(said.contains("which is required here"), "{said}");
    assert_eq!(middlebox.connections(), 1);
    let output = renew(middlebox.port, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("answers one without"), "{said}");
}
