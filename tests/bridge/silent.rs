//! Answers that never come, from a broker that is there and answers pings. mosquitto always answers, so the broker is
//! a script here.

use std::os::unix::net::UnixListener;

use support::Bridge;
use support::mqtt::{Subscriber, publish_all};

use crate::HEALTH;
use crate::rig::{Rig, message};
use crate::script::{PUBLISH, SUBSCRIBE, Script};

/// The DUP flag of a PUBLISH.
const DUP: u8 = 8;

/// One lost PUBACK would stop all that goes out, for good.
#[test]
fn a_message_that_the_cloud_never_acknowledges_is_sent_again() {
    let rig = Rig::start();
    let (cloud, bridge) = Script::cloud(&rig, "");
    let mut connection = cloud.subscribe();
    bridge.await_ready();
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    let messages: Vec<_> = (0..40).map(|n| message("out/x", &n.to_string())).collect();
    publish_all(rig.local.port, "p", &messages);
    // The bridge gives the connection up over it.
    let sent = connection.serve(|message| message != b"dev/x7");
    assert!(sent.len() > 8, "{}", sent.len());
    bridge.await_log(
        "no acknowledgement of the message on dev/x with 1 bytes in 5 s",
        0,
    );
    let text = health.await_message("health", |_, text| text.contains("\"status\":\"down\""));
    assert!(text.contains("no acknowledgement of the message"), "{text}");
    let mut connection = cloud.connect(true);
    let text = health.await_message("health", |_, text| text.contains("does not acknowledge"));
    assert!(text.contains("\"cloud\":\"up\""), "{text}");
    let (kind, first) = connection.read().unwrap();
    assert_eq!(kind, PUBLISH | DUP | 2);
    assert!(first.ends_with(b"7"), "{first:?}");
    let id = [first[7], first[8]];
    connection.write(&[0x40, 2, id[0], id[1]]);
    // Another thread, since it takes what comes until the bridge ends.
    let served = std::thread::spawn(move || connection.serve(|_| true));
    health.await_message("health", |_, text| text.contains("\"status\":\"up\""));
    bridge.await_notification("test: up; 40 out, 0 in, 0 held");
    drop(bridge);
    let rest = served.join().unwrap();
    let mut all = sent.iter().chain(&rest);
    assert!(all.any(|(_, message)| message == b"dev/x39"));
}

#[test]
fn a_message_that_the_local_broker_never_acknowledges_is_dropped_only_if_allowed() {
    let rig = Rig::start();
    let (local, bridge) = Script::local(&rig, "drop_refused = 2");
    let mut connection = local.subscribe();
    bridge.await_ready();
    let messages = ["a", "bad", "b"].map(|text| message("cmd/x", text));
    publish_all(rig.cloud.port, "p", &messages);
    for times in 1..=2 {
        connection.serve(|message| message != b"in/xbad");
        let line = "local broker: no acknowledgement of the message on in/x with 3 bytes in 5 s";
        bridge.await_log(line, times - 1);
        connection = local.connect(true);
    }
    bridge.await_log(
        "the local broker does not acknowledge the message on in/x with 3 bytes, 2 times now: dropped",
        0,
    );
    std::thread::spawn(move || connection.serve(|_| true));
    bridge.await_notification("2 in, 0 held, 1 dropped");
}

#[test]
fn other_answers_that_never_come_end_the_connection() {
    let rig = Rig::start();
    let (cloud, bridge) = Script::cloud(&rig, "");
    // Neither TLS nor MQTT would end by itself: CONNECT first.
    let mut connection = cloud.accept();
    connection.read().unwrap();
    bridge.await_log("the broker did not answer CONNECT: no answer in time", 0);
    let mut connection = cloud.connect(false);
    connection.await_packet(SUBSCRIBE);
    // Answered pings are no answer to it.
    connection.serve(|_| true);
    bridge.await_log("cloud: no answer to SUBSCRIBE in 5 s", 0);
    let text = bridge.await_notification("cloud down: no answer to SUBSCRIBE in 5 s");
    assert!(!text.contains("test: up"), "{text}");
    let _connection = cloud.subscribe();
    bridge.await_notification("test: up; ");
}

/// The health message is one of the bridge's own.
#[test]
fn a_health_message_that_is_never_acknowledged_ends_the_connection() {
    let rig = Rig::start();
    let (local, bridge) = Script::local(&rig, "");
    let mut connection = local.subscribe();
    connection.serve(|_| false);
    bridge.await_log("local broker: no answer to the health message in 5 s", 0);
}

/// A broker that hangs before it accepts, with a backlog that is full.
#[test]
fn a_socket_that_nobody_accepts_from_is_told() {
    let rig = Rig::start();
    let socket = rig.hsm.file("local.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let config = rig.config("").replace(
        &format!("[local]\nport = {}\n", rig.local.port),
        &format!("[local]\nsocket = \"{}\"\n", socket.display()),
    );
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_log("local.sock: no answer in time", 0);
}
