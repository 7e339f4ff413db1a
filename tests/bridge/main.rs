//! tedge-hsm-bridge between two mosquittos, with the key in SoftHSM2 behind the signer: nothing is lost and
//! nothing out of order, whatever is killed; memory is bounded; it says what is wrong and heals by itself.

mod broken;
mod check;
mod container;
mod faults;
mod hostile;
mod proxied;
mod retained;
mod rig;
mod script;
mod sessions;
mod silent;
mod subscriptions;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use support::mqtt::{Subscriber, await_some, publish_all};
use support::{Bridge, Ca, Mosquitto, Signer, fail, program, succeed};

use crate::rig::{Rig, message};

const HEALTH: &str = "te/device/main/service/tedge-hsm-bridge-test/status/health";

#[test]
fn messages_pass_both_ways_under_other_topics() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "#");
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    publish_all(rig.local.port, "p", &[message("out/a/b", "up")]);
    publish_all(rig.cloud.port, "p", &[message("cmd/a", "down")]);
    cloud.await_message("the message out", |topic, text| {
        (topic, text) == ("dev/a/b", "up")
    });
    local.await_message("the message in", |topic, text| {
        (topic, text) == ("in/a", "down")
    });
    // Nothing else has come out, and nothing went round.
    let topics: HashSet<_> = cloud
        .messages()
        .into_iter()
        .map(|(topic, _)| topic)
        .collect();
    assert_eq!(
        topics,
        HashSet::from(["dev/a/b".to_owned(), "cmd/a".to_owned()])
    );
    let log = rig.cloud.log();
    assert!(
        log.contains("as device-1 (p2, c0, k60"),
        "a persistent session: {log}"
    );
    let status = bridge.await_notification("1 out, 1 in, 0 held");
    assert!(status.contains("STATUS=test: up"), "{status}");
}

#[test]
fn the_source_is_acknowledged_only_after_the_sink() {
    let mut rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    // The local broker tells of each PUBACK that it gets from the bridge.
    let acknowledged = |rig: &Rig| {
        let log = rig.local.log();
        let from = "Received PUBACK from tedge-hsm-bridge-test";
        log.matches(from).count()
    };
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    await_some("the first acknowledgement", || {
        (acknowledged(&rig) == 1).then_some(())
    });
    rig.cloud.freeze();
    publish_all(
        rig.local.port,
        "p",
        &[message("out/x", "2"), message("out/x", "3")],
    );
    bridge.await_notification("2 held");
    assert_eq!(acknowledged(&rig), 1, "acknowledged before the cloud did");
    rig.cloud.thaw();
    await_some("the others", || (acknowledged(&rig) == 3).then_some(()));

    // A killed bridge has lost nothing of what it had not delivered.
    rig.cloud.freeze();
    let sent = [message("out/x", "4"), message("out/x", "5")];
    publish_all(rig.local.port, "p", &sent);
    bridge.await_notification("2 held");
    drop(bridge);
    rig.cloud.thaw();
    rig.cloud.end();
    rig.cloud.run();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    for wanted in ["4", "5"] {
        cloud.await_message("what the killed bridge held", |_, text| text == wanted);
    }
}

#[test]
fn without_the_hsm_the_local_side_lives_and_says_so() {
    let mut rig = Rig::start();
    rig.signer = None;
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    let text = health.await_message("health without a signer", |_, text| {
        text.contains("\"hsm\":\"unusable\"")
    });
    assert!(text.contains("\"status\":\"down\""), "{text}");
    assert!(text.contains("is tedge-p11-server running?"), "{text}");
    bridge.await_notification("cloud down: cannot connect to the signer");
    // The local side takes messages meanwhile.
    publish_all(rig.local.port, "p", &[message("out/x", "kept")]);
    bridge.await_notification("1 held");
    rig.signer = Some(Signer::start(&rig.hsm));
    bridge.await_ready();
    health.await_message("health with the signer", |_, text| {
        text.contains("\"status\":\"up\"") && text.contains("\"hsm\":\"usable\"")
    });
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    publish_all(rig.local.port, "p", &[message("out/x", "next")]);
    cloud.await_message("the next message", |_, text| text == "next");

    // The last will is the broker's: of a killed bridge, too.
    drop(bridge);
    health.await_message("the last will", |_, text| {
        text.contains("the bridge is gone")
    });
}

/// The thread that waits for the signature is not the one that carries messages.
#[test]
fn a_signer_that_hangs_holds_nobody_up() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let signer = rig.signer.as_ref().unwrap();
    signer.signal(Signal::STOP);
    rig.proxy.cut();
    bridge.await_notification("test: cloud down");
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    health.await_message("health", |_, text| text.contains("\"status\":\"down\""));
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    bridge.await_notification("1 held");
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    signer.signal(Signal::CONT);
    cloud.await_message("the message", |_, text| text == "1");
}

#[test]
fn it_stops_cleanly_and_says_goodbye() {
    let rig = Rig::start();
    let mut bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    health.await_message("health", |_, text| text.contains("\"status\":\"up\""));
    bridge.signal(Signal::TERM);
    assert!(bridge.wait().success());
    health.await_message("goodbye", |_, text| text.contains("the bridge was stopped"));
    // It is retained: who subscribes now gets it, too.
    let late = Subscriber::start(rig.local.port, "late", HEALTH);
    late.await_message("goodbye", |_, text| text.contains("the bridge was stopped"));
    assert!(
        rig.cloud
            .log()
            .contains("Received DISCONNECT from device-1")
    );
}

#[test]
fn a_renewed_certificate_is_used_for_the_next_connection() {
    let rig = Rig::start();
    let serial = |path: &Path| {
        let output = succeed(
            Command::new("openssl")
                .args(["x509", "-noout", "-serial", "-in"])
                .arg(path),
        );
        output.trim().to_owned()
    };
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let before = serial(&rig.cert);
    // The same key, another certificate and name.
    rig.issue("device-renewed");
    std::fs::copy(rig.ca.file("device-renewed.pem"), &rig.cert).unwrap();
    assert_ne!(serial(&rig.cert), before);
    rig.proxy.cut();
    await_some("a connection with the new certificate", || {
        rig.cloud.log().contains("CN=device-renewed").then_some(())
    });
}

#[test]
fn the_brokers_certificate_is_verified() {
    let rig = Rig::start();
    // A CA of the same name that did not issue it; a name that it is not for.
    let other = Ca::new();
    std::fs::copy(other.certificate(), rig.hsm.file("other.pem")).unwrap();
    let ca = format!("ca = \"{}\"", rig.ca.certificate().display());
    let wrong_ca = format!("ca = \"{}\"", rig.hsm.file("other.pem").display());
    let good = rig.config("");
    for (config, wanted) in [
        (
            good.replace(&ca, &wrong_ca),
            "is not signed by the key of the CA",
        ),
        (
            good.replace("host = \"localhost\"", "host = \"127.0.0.1\""),
            "is not for 127.0.0.1, but for localhost",
        ),
    ] {
        let bridge = Bridge::spawn(rig.dir(), &config);
        bridge.await_notification(wanted);
    }
    assert_eq!(
        rig.cloud.log().matches("connected from 127.0.0.1").count(),
        0
    );
}

#[test]
fn tls_1_2_is_spoken_only_when_allowed() {
    let rig = Rig::start();
    let server = support::broker::SServer::start(&rig.ca, &["-tls1_2"]);
    let config = rig.config("").replace(
        &format!("port = {}\n", rig.proxy.port),
        &format!("port = {}\n", server.port),
    );
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_notification("(TLS alert protocol_version)");
    drop(bridge);
    // s_server speaks no MQTT: that the handshake is done is all there is to see.
    let bridge = Bridge::spawn(rig.dir(), &config.replace("tls12 = false", "tls12 = true"));
    bridge.await_notification("the broker did not answer CONNECT");
}

#[test]
fn several_clouds_have_their_own_keys() {
    let rig = Rig::start();
    let second = rig.hsm.create_key("second", "rsa2048");
    let csr = succeed(rig.signer.as_ref().unwrap().tedge_hsm().args([
        "csr",
        "--common-name",
        "device-2",
        "--uri",
        &second,
    ]));
    let cert = rig.ca.issue("device-2", &csr);
    let other = Mosquitto::start(Some(&rig.ca));
    let config = format!(
        "{}[cloud.other]\nhost = \"localhost\"\nport = {}\nclient_id = \"device-2\"\ncert = \"{}\"\n\
         ca = \"{}\"\nkey = \"pkcs11:object=second\"\nsigner = \"{}\"\nreconnect_max = 1\n\
         out = [{{ topic = \"out/#\", add = \"two/\" }}]\n",
        rig.config(""),
        other.tls_port,
        cert.display(),
        rig.ca.certificate().display(),
        rig.socket().display(),
    );
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    let one = Subscriber::start(rig.cloud.port, "check", "#");
    let two = Subscriber::start(other.port, "check", "#");
    publish_all(rig.local.port, "p", &[message("out/x", "both")]);
    one.await_message("one", |topic, _| topic == "dev/x");
    two.await_message("two", |topic, _| topic == "two/out/x");
    // One of them gone is nothing to the other.
    rig.proxy.close();
    publish_all(rig.local.port, "p", &[message("out/x", "still")]);
    two.await_message("two alone", |_, text| text == "still");
}

#[test]
fn messages_that_are_too_long_are_dropped_and_stop_nobody() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config("max_message = 1000"));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let long = |len: usize| ("out/x".to_owned(), vec![b'x'; len]);
    // In one piece with others, longer than what is read at a time, and longer under the other topic only.
    let messages = [
        long(1001),
        long(300_000),
        long(995),
        message("out/x", "end"),
    ];
    publish_all(rig.local.port, "p", &messages);
    cloud.await_message("the end", |_, text| text == "end");
    let lengths: Vec<_> = cloud
        .messages()
        .iter()
        .map(|(_, payload)| payload.len())
        .collect();
    assert_eq!(lengths, [995, 3]);
    assert_eq!(bridge.count("is longer than max_message"), 2);
    bridge.await_notification("2 dropped");
}

#[test]
fn messages_are_retained_when_the_rule_says_so() {
    let rig = Rig::start();
    let config = rig
        .config("")
        .replace("add = \"dev/\"", "add = \"dev/\"\nretain = \"always\"");
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    publish_all(rig.local.port, "p", &[message("out/state", "on")]);
    bridge.await_notification("1 out");
    let late = Subscriber::start(rig.cloud.port, "late", "dev/#");
    late.await_message("what was retained", |topic, text| {
        (topic, text) == ("dev/state", "on")
    });
}

/// A bad file: one line that names line and key, and nothing started.
#[test]
fn a_mistake_in_the_configuration_is_told_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bridge.toml");
    let good =
        "[cloud.x]\nhost = \"h\"\nclient_id = \"d\"\ncert = \"c\"\npreset = \"cumulocity\"\n";
    for (text, wanted) in [
        (
            good.replace("host", "hots"),
            ", line 2, hots: unknown field `hots`",
        ),
        (format!("{good}port = 99999\n"), ", line 6, port: "),
        (
            format!("{good}[[cloud.x.out]]\ntopic = \"a/#/b\"\n"),
            ", line 7, topic: \"a/#/b\" is no topic filter",
        ),
        (
            format!("{good}[[cloud.x.in]]\ntopic = \"a/b\"\nstrip = \"b/\"\n"),
            ", line 8, strip: the topics",
        ),
        (
            format!("{good}tls = \"no\"\n"),
            ", line 6, tls: unknown field",
        ),
        (
            format!("{good}verify = false\n"),
            ", line 6, verify: unknown field",
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        for check in [&["--check"][..], &[]] {
            let mut command = Command::new(program("tedge-hsm-bridge"));
            let error = fail(command.arg("--config").arg(&file).args(check));
            assert!(error.contains(wanted), "{error}");
        }
    }
    let missing = dir.path().join("none.toml");
    let mut command = Command::new(program("tedge-hsm-bridge"));
    let error = fail(command.arg("--config").arg(&missing));
    assert!(error.contains("none.toml yet; "), "{error}");
}
