//! What breaks without saying so, and what can't be helped by trying again.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use support::mqtt::{Subscriber, await_some, publish_all};
use support::{Bridge, Signer, program};

use crate::HEALTH;
use crate::rig::{Rig, message};

/// No FIN, no RST: nothing comes any more, as when a NAT has forgotten the connection.
#[test]
fn a_connection_that_is_silently_gone_is_noticed() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config("keep_alive = 5"));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    // With nothing to say, and with something on its way.
    for text in ["idle", "busy"] {
        let before = bridge.count("cloud: no answer in time");
        rig.proxy.fall_silent(true);
        if text == "busy" {
            publish_all(rig.local.port, "p", &[message("out/x", text)]);
        }
        bridge.await_log("cloud: no answer in time", before);
        if text == "idle" {
            publish_all(rig.local.port, "p", &[message("out/x", text)]);
        }
        rig.proxy.fall_silent(false);
        cloud.await_message("the message", |_, came| came == text);
    }
}

/// What comes from it is not acknowledged all the while; its pings are answered, and ours sent.
#[test]
fn a_cloud_that_hangs_does_not_cost_the_local_connection() {
    let rig = Rig::start();
    let config = rig
        .config("")
        .replace("[local]\n", "[local]\nkeep_alive = 5\n");
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    rig.cloud.freeze();
    let messages: Vec<_> = (0..50).map(|n| message("out/x", &n.to_string())).collect();
    publish_all(rig.local.port, "p", &messages);
    await_some("pings", || {
        let log = rig.local.log();
        let pings = log.matches("Received PINGREQ from tedge-hsm-bridge-test");
        (pings.count() > 2).then_some(())
    });
    assert_eq!(bridge.count("local broker: connected"), 1);
    rig.cloud.thaw();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    publish_all(rig.local.port, "p", &[message("out/x", "last")]);
    cloud.await_message("the last message", |_, text| text == "last");
}

/// The cloud connection stands and goes on; the next would not come about.
#[test]
fn a_lost_hsm_is_told_while_the_connection_stands() {
    let rig = Rig::start_with_faulty_module();
    let bridge = Bridge::spawn(rig.dir(), &rig.config("check_interval = 1"));
    bridge.await_ready();
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    rig.faults("token device absent");
    let text = health.await_message("health without the token", |_, text| {
        text.contains("\"hsm\":\"unusable\"")
    });
    assert!(text.contains("\"cloud\":\"up\""), "{text}");
    assert!(text.contains("no token matches"), "{text}");
    bridge.await_notification("test: up, HSM unusable: ");
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    cloud.await_message("a message all the same", |_, text| text == "1");
    let before = health.len();
    rig.faults("");
    bridge.await_log("the HSM can be used again", 0);
    await_some("health with the token", || {
        let messages = health.messages();
        let text = String::from_utf8_lossy(&messages.last()?.1).into_owned();
        (messages.len() > before && text.contains("\"hsm\":\"usable\"")).then_some(())
    });
    // All over one connection.
    assert_eq!(bridge.count("cloud: connected"), 1);
}

/// A broker that speaks MQTT 3.1.1 refuses a message by closing the connection.
#[test]
fn a_message_that_the_cloud_refuses_is_named_and_dropped_only_if_allowed() {
    let rig = Rig::start_with_each("", "max_packet_size 2000\n");
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let long = "x".repeat(5000);
    let messages = [("a", "before"), ("bad", &long), ("a", "after")]
        .map(|(topic, text)| message(&format!("out/{topic}"), text));
    publish_all(rig.local.port, "p", &messages);
    bridge.await_log(
        "the cloud closes the connection whenever it is sent the message on dev/bad with 5000 bytes, 3 times now: \
         nothing passes",
        0,
    );
    let texts = |subscriber: &Subscriber| {
        let messages = subscriber.messages().into_iter();
        let texts = messages.map(|(_, payload)| String::from_utf8(payload).unwrap());
        texts.collect::<Vec<_>>()
    };
    assert!(!texts(&cloud).contains(&"after".to_owned()));
    drop(bridge);
    let bridge = Bridge::spawn(rig.dir(), &rig.config("drop_refused = 4"));
    cloud.await_message("what comes after it", |_, text| text == "after");
    bridge.await_log("with 5000 bytes, 4 times now: dropped", 0);
    bridge.await_notification("1 dropped");
    assert!(!texts(&cloud).contains(&long));
}

#[test]
fn a_name_that_cannot_be_resolved_is_told() {
    let rig = Rig::start();
    let config = rig
        .config("")
        .replace("host = \"localhost\"", "host = \"broker.invalid\"");
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_notification("failed to lookup address information");
    publish_all(rig.local.port, "p", &[message("out/x", "kept")]);
    bridge.await_notification("1 held");
}

/// A device without a battery for its clock: the broker's certificate is not valid until the time is known.
#[test]
fn a_clock_that_is_wrong_at_first_heals() {
    let Some(library) = libfaketime() else {
        println!("skipped: there is no libfaketime");
        return;
    };
    let rig = Rig::start();
    let (config, clock) = (rig.hsm.file("bridge.toml"), rig.hsm.file("clock"));
    std::fs::write(&config, rig.config("")).unwrap();
    std::fs::write(&clock, "-10y").unwrap();
    let mut command = Command::new(program("tedge-hsm-bridge"));
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let bridge = Bridge::spawn_command(rig.dir(), command.arg("--config").arg(config));
    bridge.await_notification("is not valid before");
    std::fs::write(&clock, "+0").unwrap();
    bridge.await_ready();
}

fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|library| library.exists())
}

/// A boot is not over while a unit is starting.
#[test]
fn it_is_ready_without_the_cloud_after_a_while() {
    let rig = Rig::start();
    rig.proxy.close();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_notification("test: cloud down");
    bridge.await_notification("READY=1");
    assert_eq!(bridge.count("all brokers are connected"), 0);
    rig.proxy.open();
    bridge.await_log("all brokers are connected", 0);
}

/// A pipe that is not read, as a container's log may be, or journald that hangs.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let rig = Rig::start();
    let config = rig.hsm.file("bridge.toml");
    std::fs::write(&config, rig.config("")).unwrap();
    let (mut here, _there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    while here.write(&[b'x'; 1024]).is_ok() {}
    here.set_nonblocking(false).unwrap();
    let mut command = Command::new(program("tedge-hsm-bridge"));
    command.arg("--config").arg(config);
    let stderr = OwnedFd::from(here).into();
    let _bridge = Bridge::spawn_with_stderr(rig.dir(), &mut command, stderr);
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    health.await_message("health", |_, text| text.contains("\"status\":\"up\""));
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    cloud.await_message("a message", |_, text| text == "1");
}

#[test]
fn what_is_quoted_begins_no_line_of_its_own() {
    let rig = Rig::start();
    let cert = rig.cert.display().to_string();
    let config = rig
        .config("")
        .replace(&cert, "/none\\ntedge-hsm-bridge: error: forged");
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_log("forged", 0);
    let log = bridge.log();
    let forged = log
        .lines()
        .find(|line| line.starts_with("tedge-hsm-bridge: error"));
    assert_eq!(forged, None, "{log}");
    let status = bridge.await_notification("forged");
    assert_eq!(status.lines().count(), 1, "{status}");
}

/// Who was told of the certificate's folder only needs no restart.
#[test]
fn a_renewed_certificate_is_taken_up_while_the_connection_stands() {
    let mut rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config("check_interval = 1"));
    bridge.await_ready();
    let renewed = rig.issue("device-renewed");
    // Not of this key: the old one stays.
    let foreign = rig.ca.file("localhost.pem");
    std::fs::copy(foreign, &rig.cert).unwrap();
    bridge.await_log("does not belong to the key", 0);
    std::fs::copy(renewed, &rig.cert).unwrap();
    bridge.await_log("the certificate was renewed", 0);
    await_some("a connection with the new certificate", || {
        rig.cloud.log().contains("CN=device-renewed").then_some(())
    });
    // Without the signer, too, it is told once, not once a second.
    let before = bridge.count("the HSM cannot be used");
    rig.signer = None;
    bridge.await_log("the HSM cannot be used", before);
    rig.signer = Some(Signer::start(&rig.hsm));
    bridge.await_log("the HSM can be used again", 0);
    assert_eq!(bridge.count("the HSM cannot be used"), before + 1);
    assert_eq!(bridge.count("does not belong to the key"), 1);
}
