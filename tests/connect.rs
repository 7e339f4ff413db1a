//! `tedge-hsm connect` with what some brokers want beside a certificate: a user name with a password, and a protocol's name
//! in the TLS handshake (ALPN). mosquitto and openssl's s_server judge.

use std::process::{Command, Output};

use support::broker::SServer;
use support::{Broker, Device, fail, succeed, write_secret};

fn log_in(device: &Device, port: u16, user: &str, password: &str) -> Command {
    let file = device.hsm.file("password");
    write_secret(&file, password);
    let mut command = device.connect(port);
    command
        .args(["--username", user, "--password-file"])
        .arg(file);
    command
}

#[test]
fn a_broker_that_checks_passwords() {
    let device = Device::start_with_default_policy();
    let broker = Broker::start_with_password(&device.ca, "hub/device-1", "s3cret word");
    let log_in = |user, password| log_in(&device, broker.port, user, password);
    // An editor's end of line is no part of it.
    for password in ["s3cret word", "s3cret word\n"] {
        let mut connect = log_in("hub/device-1", password);
        connect.args(["--subscribe", "a/b", "--publish", "a/b", "hello"]);
        let seen = succeed(&mut connect);
        assert!(seen.contains("received          a/b hello"), "{seen}");
    }
    assert!(broker.log().contains("u'hub/device-1'"), "{}", broker.log());
    let refused = "the broker refused the connection: ";
    for (user, password) in [
        ("hub/device-1", "s3cret"),
        ("hub/device-2", "s3cret word"),
        ("", ""),
    ] {
        let mut wrong = match user {
            "" => device.connect(broker.port),
            user => log_in(user, password),
        };
        let said = fail(&mut wrong);
        assert!(said.contains(refused), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_server_that_wants_a_protocol_named() {
    let device = Device::start_with_default_policy();
    let server = SServer::start(&device.ca, &["-tls1_3", "-alpn", "x-amzn-mqtt-ca"]);
    let with = |names: &[&str]| -> (String, String) {
        let mut connect = device.connect(server.port);
        connect.args(names.iter().flat_map(|name| ["--alpn", name]));
        // It is no broker: what counts is how far it gets.
        connect.args(["--timeout", "5"]);
        let Output { stdout, stderr, .. } = connect.output().unwrap();
        (
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        )
    };
    for names in [&["x-amzn-mqtt-ca"][..], &["mqtt", "x-amzn-mqtt-ca"]] {
        let (seen, said) = with(names);
        assert!(
            seen.contains("ALPN              x-amzn-mqtt-ca\n"),
            "{seen}{said}"
        );
    }
    let (seen, said) = with(&["mqtt"]);
    assert!(said.contains("no_application_protocol"), "{seen}{said}");
    assert!(said.contains("offer the one that it wants"), "{said}");
    assert!(!seen.contains("connected"), "{seen}");
    let (seen, _) = with(&[]);
    assert!(
        seen.contains("connected") && !seen.contains("ALPN"),
        "{seen}"
    );
}
