//! `retain = "keep"`: what is retained at one broker is retained at the other, and no longer than that.

use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubAck, Publish};
use support::Bridge;
use support::mqtt::{Mqtt, Subscriber, await_some};

use crate::HEALTH;
use crate::rig::Rig;
use crate::script::{CONNECT, SUBSCRIBE, Script};

/// Both ways between real brokers: before the start, while it runs, after a deletion, after a cut and a restart.
#[test]
fn what_is_retained_is_kept_up_to_date_both_ways() {
    let mut rig = Rig::start();
    let config = rig
        .config("")
        .replace("add = \"dev/\"", "add = \"dev/\"\nretain = \"keep\"")
        .replace("add = \"in/\"", "add = \"in/\"\nretain = \"keep\"");
    // A session from before: its subscriptions were made without asking for the flag.
    let before = rig.config("");
    let bridge = Bridge::spawn(rig.dir(), &before);
    bridge.await_ready();
    drop(bridge);
    let ways = |rig: &Rig| {
        [
            (rig.local.port, "out/x", rig.cloud.port, "dev/x"),
            (rig.cloud.port, "cmd/x", rig.local.port, "in/x"),
        ]
    };
    let each = |rig: &Rig, payload: &'static str| {
        for (from, topic, ..) in ways(rig) {
            retain(from, topic, payload);
        }
    };
    let arrives = |rig: &Rig, payload: &str| {
        for (_, _, to, topic) in ways(rig) {
            await_some(&format!("{payload} retained on {topic}"), || {
                (retained(to, topic).as_deref().unwrap_or_default() == payload).then_some(())
            });
        }
    };
    each(&rig, "first");
    let mut bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    arrives(&rig, "first");
    each(&rig, "second");
    arrives(&rig, "second");
    each(&rig, "");
    arrives(&rig, "");
    each(&rig, "third");
    arrives(&rig, "third");
    // While a connection is away, and after each.
    let before = bridge.count("cloud: connected");
    rig.proxy.close();
    each(&rig, "fourth");
    rig.proxy.open();
    bridge.await_log("cloud: connected", before);
    arrives(&rig, "fourth");
    each(&rig, "");
    arrives(&rig, "");
    each(&rig, "fifth");
    arrives(&rig, "fifth");
    let before = bridge.count("local broker: connected");
    rig.local.end();
    rig.local.run();
    bridge.await_log("local broker: connected", before);
    each(&rig, "sixth");
    arrives(&rig, "sixth");
    bridge.kill();
    each(&rig, "");
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    arrives(&rig, "");
    // A message that is not retained stays one.
    publish(rig.local.port, "out/x", "event", false);
    bridge.await_notification("test: up; 2 out");
    assert_eq!(retained(rig.cloud.port, "dev/x"), None);
    assert_eq!(bridge.count("can't be kept"), 0);
}

/// AWS IoT Core and others end the connection over a protocol level that they do not know; others answer by the code
/// that MQTT has for it.
#[test]
fn keep_is_refused_where_it_cannot_be_kept() {
    for answers in [true, false] {
        let rig = Rig::start();
        let more = "\n[[cloud.test.in]]\ntopic = \"state/#\"\nretain = \"keep\"";
        let (cloud, bridge) = Script::cloud(&rig, more);
        let health = Subscriber::start(rig.local.port, "health", HEALTH);
        let mut levels = Vec::new();
        let mut connection = loop {
            let mut connection = cloud.accept();
            // One that was only made to see whether the broker is there ends at once.
            let (kind, connect) = connection.read().unwrap();
            assert_eq!(kind, CONNECT);
            levels.push(connect[6]);
            match connect[6] {
                4 => {
                    connection.write(&[0x20, 2, 0, 0]);
                    let last = if answers { 2 } else { 4 };
                    if levels.len() == last {
                        break connection;
                    }
                }
                _ if answers => connection.write(&[0x20, 2, 0, 1]),
                _ => {}
            }
        };
        let wanted: &[u8] = if answers {
            &[0x84, 4]
        } else {
            &[0x84, 4, 0x84, 4]
        };
        assert_eq!(levels, wanted);
        let subscribe = connection.await_packet(SUBSCRIBE);
        let text = String::from_utf8_lossy(&subscribe).into_owned();
        assert!(
            text.contains("cmd/#") && !text.contains("state/#"),
            "{text}"
        );
        connection.suback(&subscribe, 1);
        bridge.await_log("retain = \"keep\" can't be kept, use never or always", 0);
        health.await_message("health", |_, text| {
            text.contains("state/#") && text.contains("\"status\":\"up\"")
        });
    }
}

fn retain(port: u16, topic: &str, payload: &'static str) {
    publish(port, topic, payload, true);
}

fn publish(port: u16, topic: &str, payload: &'static str, retain: bool) {
    let mut mqtt = Mqtt::connect(port, "single").unwrap();
    let mut publish = Publish::new(
        topic,
        QoS::AtLeastOnce,
        Bytes::from_static(payload.as_bytes()),
    );
    publish.retain = retain;
    publish.pkid = 1;
    mqtt.send(&[Packet::Publish(publish)]).unwrap();
    while !matches!(mqtt.receive().unwrap(), Packet::PubAck(_)) {}
}

/// What a new subscriber is sent of a topic.
fn retained(port: u16, topic: &str) -> Option<String> {
    let mut mqtt = Mqtt::connect(port, "retained").unwrap();
    mqtt.subscribe(topic).unwrap();
    mqtt.send(&[Packet::PingReq]).unwrap();
    let mut found = None;
    loop {
        match mqtt.receive().unwrap() {
            Packet::Publish(publish) => {
                // Else it would come again.
                mqtt.send(&[Packet::PubAck(PubAck::new(publish.pkid))])
                    .unwrap();
                if publish.retain {
                    found = Some(String::from_utf8(publish.payload.to_vec()).unwrap());
                }
            }
            Packet::PingResp => return found,
            _ => {}
        }
    }
}
