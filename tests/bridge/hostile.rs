//! Packets that no broker should send, and messages that can't be forwarded. mosquitto refuses to send them, so the
//! broker is a script where they come from.

use support::Bridge;
use support::mqtt::{Mqtt, Subscriber, await_some, publish_all, publish_over};

use crate::HEALTH;
use crate::rig::{Rig, message};
use crate::script::{PUBACK, PUBLISH, Script};

/// What has an answer, whatever the bridge does with it: a PUBREL, and a message that no rule is for. With the
/// answer's type.
const ANSWERED: [(&[u8], u8); 2] = [
    (b"\x62\x02\0\x01", 0x70),
    (b"\x32\x05\0\x01z\0\x01", PUBACK),
];
const IDENTIFIERS: usize = 65_535;
/// More than the sockets hold, in bytes.
const FLOOD: usize = 32 * 1024 * 1024;

/// Old brokers store them. The connection stands: it would be ended over the same message again and again.
#[test]
fn a_topic_that_is_none_stops_what_is_behind_it_and_nothing_else() {
    for (topic, wanted) in [
        (
            &b"cmd/\xff\xfe\n"[..],
            "has a topic that is not UTF-8 (topic cmd/\\xff\\xfe\\n, 10 bytes)",
        ),
        (
            b"cmd/\0",
            "has a topic with a NUL character (topic cmd/\\0, 8 bytes)",
        ),
        (
            b"cmd/#",
            "has a topic with a wildcard (topic cmd/#, 8 bytes)",
        ),
        (b"", "has an empty topic (topic , 3 bytes)"),
    ] {
        let rig = Rig::start();
        let (cloud, bridge) = Script::cloud(&rig, "");
        let mut connection = cloud.subscribe();
        bridge.await_ready();
        let health = Subscriber::start(rig.local.port, "health", HEALTH);
        let local = Subscriber::start(rig.local.port, "check", "in/#");
        connection.publish(b"cmd/a", 1, b"before");
        connection.publish(topic, 2, b"bad");
        connection.publish(b"cmd/a", 3, b"behind");
        bridge.await_log(wanted, 0);
        local.await_message("what came before", |_, text| text == "before");
        let text = health.await_message("health", |_, text| text.contains("\"status\":\"down\""));
        assert!(text.contains("waits, unless drop_refused is set"), "{text}");
        assert!(text.contains("\"cloud\":\"up\""), "{text}");
        // The other way is open.
        publish_all(rig.local.port, "p", &[message("out/x", "out")]);
        let publish = connection.await_packet(0x30);
        assert!(publish.ends_with(b"out"));
        assert_eq!(local.len(), 1);
        // All over one connection, and told once.
        assert_eq!(bridge.count("cloud: connected"), 1);
        assert_eq!(bridge.count(wanted), 1);
    }
}

#[test]
fn a_topic_that_is_none_is_dropped_if_that_is_allowed() {
    let rig = Rig::start();
    let (cloud, bridge) = Script::cloud(&rig, "drop_refused = 4");
    let mut connection = cloud.subscribe();
    bridge.await_ready();
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    connection.publish(b"cmd/\xff", 7, b"bad");
    connection.publish(b"cmd/a", 8, b"behind");
    local.await_message("what came behind", |_, text| text == "behind");
    assert_eq!(connection.await_packet(PUBACK), [0, 7]);
    assert_eq!(connection.await_packet(PUBACK), [0, 8]);
    bridge.await_log("(topic cmd/\\xff, 8 bytes): dropped", 0);
    bridge.await_notification("1 in, 0 held, 1 dropped");
    assert_eq!(bridge.count("cloud: connected"), 1);
}

/// What breaks the protocol has a name, and pauses between.
#[test]
fn what_breaks_the_protocol_is_named() {
    let rig = Rig::start();
    let (cloud, bridge) = Script::cloud(&rig, "");
    for (bytes, wanted) in [
        (&[0xf0, 0][..], "a packet of the reserved type 15"),
        (
            &[0x30, 0xff, 0xff, 0xff, 0xff, 1],
            "a packet whose remaining length has no end",
        ),
        (&[0x36, 4, 0, 1, b'a', b'x'], "a PUBLISH with QoS 3"),
        (
            &[0x32, 5, 0, 1, b'a', 0, 0],
            "a PUBLISH with packet identifier 0",
        ),
        (&[0x30, 3, 0, 9, b'a'], "a PUBLISH that ends too early"),
        (&[0x20, 2, 0, 0], "an unexpected CONNACK"),
        (&[0x10, 2, 0, 0], "an unexpected CONNECT"),
        (&[0xe0, 0], "an unexpected DISCONNECT"),
        (&[0x90, 0xff, 0xff, 1, 0], "a SUBACK with 32767 bytes"),
    ] {
        let mut connection = cloud.subscribe();
        connection.write(bytes);
        let line = format!("test, cloud: the broker sent {wanted}; trying again in ");
        bridge.await_log(&line, 0);
    }
    // What means nothing ends nothing: an acknowledgement of what was not sent, DUP with QoS 0, reserved flags.
    let mut connection = cloud.subscribe();
    let before = bridge.count("trying again in");
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    connection.write(&[0x40, 2, 0, 99, 0x4f, 2, 0, 98, 0xd0, 0]);
    connection.write(&[0x38, 8, 0, 5, b'c', b'm', b'd', b'/', b'a', b'0']);
    local.await_message("QoS 0", |_, text| text == "0");
    assert_eq!(bridge.count("trying again in"), before);
}

/// A session that another program began, with QoS 2.
#[test]
fn qos_2_is_answered_as_the_broker_expects() {
    let rig = Rig::start();
    let mut other = Mqtt::connect(rig.cloud.port, "device-1").unwrap();
    // SUBSCRIBE to cmd/# with QoS 2.
    other.send_bytes(b"\x82\x0a\0\x01\0\x05cmd/#\x02");
    other.receive().unwrap();
    drop(other);
    let mut publisher = Mqtt::connect(rig.cloud.port, "p").unwrap();
    publisher.send_bytes(b"\x34\x0c\0\x05cmd/a\0\x01two");
    // PUBREC, PUBREL, PUBCOMP.
    publisher.receive().unwrap();
    publisher.send_bytes(b"\x62\x02\0\x01");
    publisher.receive().unwrap();
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    local.await_message("what waited with QoS 2", |_, text| text == "two");
    publish_all(rig.cloud.port, "q", &[message("cmd/a", "one")]);
    local.await_message("what is new", |_, text| text == "one");
    assert_eq!(bridge.count("cloud: connected"), 1);
    // The message may have been forwarded before.
    await_some("PUBCOMP", || {
        let log = rig.cloud.log();
        log.contains("Received PUBCOMP from device-1").then_some(())
    });
}

/// One anonymous client of the local broker made 503 MiB of log in three seconds.
#[test]
fn a_flood_of_long_topics_does_not_fill_the_log() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config("max_message = 1000"));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let topic = format!("out/{}", "x".repeat(65_000));
    let mut messages = vec![(topic, Vec::new()); 1500];
    messages.push(message("out/x", "end"));
    let mut publisher = Mqtt::connect(rig.local.port, "flood").unwrap();
    publish_over(&mut publisher, &messages).unwrap();
    cloud.await_message("the end", |_, text| text == "end");
    let log = bridge.log();
    assert!(log.len() < 16 * 1024, "{} bytes of log", log.len());
    let lines = log.matches("is longer than max_message").count();
    assert!((1..=20).contains(&lines), "{lines} lines");
    bridge.await_notification("1500 dropped");
    let mut bridge = bridge;
    bridge.signal(rustix::process::Signal::TERM);
    bridge.wait();
    assert!(
        bridge.log().contains("more such messages"),
        "{}",
        bridge.log()
    );
}

/// Answers that nobody read had filled 386 MB of memory in 20 s, and ended the bridge for all clouds.
#[test]
fn a_cloud_that_does_not_read_the_answers_is_left() {
    let rig = Rig::start();
    let (cloud, mut bridge) = Script::cloud(&rig, "");
    let mut connection = cloud.subscribe();
    bridge.await_ready();
    let why = "the broker goes on sending, and does not read the answers";
    for (packet, _) in ANSWERED {
        let before = bridge.peak_memory();
        let told = bridge.count(why);
        let taken = connection.flood(packet, FLOOD);
        let more = bridge.peak_memory() - before;
        assert!(taken < FLOOD, "{packet:?}: {more} KiB more memory");
        assert!(more < 8 * 1024, "{packet:?}: {more} KiB more memory");
        bridge.await_log(why, told);
        drop(connection);
        connection = cloud.subscribe();
    }
}

/// As many as there are identifiers may wait, and nothing of what was sent meanwhile is lost.
#[test]
fn a_broker_that_reads_again_gets_all_answers() {
    let rig = Rig::start();
    let (local, bridge) = Script::local(&rig, "");
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    for (packet, answer) in ANSWERED {
        let mut connection = local.subscribe();
        // It waits for the acknowledgement of its health.
        let mut healthy = false;
        while !healthy {
            let health = connection.await_packet(PUBLISH);
            let topic = usize::from(health[1]);
            connection.write(&[PUBACK, 2, health[2 + topic], health[3 + topic]]);
            healthy = String::from_utf8_lossy(&health).contains("\"status\":\"up\"");
        }
        connection.write(&packet.repeat(IDENTIFIERS));
        for _ in 0..IDENTIFIERS {
            assert_eq!(connection.read().unwrap().0, answer);
        }
        let text = format!("behind {answer:x}");
        connection.publish(b"out/x", 2, text.as_bytes());
        cloud.await_message("what came behind", |_, payload| payload == text);
        assert_eq!(connection.await_packet(PUBACK), [0, 2]);
    }
    assert_eq!(bridge.count("test, local broker: connected"), 2);
}
