//! QoS 0, sessions that a broker has forgotten, retained messages.

use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};
use support::Bridge;
use support::mqtt::{Mqtt, Subscriber, await_some, publish_all};

use crate::rig::{Rig, message};

/// Publishes one message that nobody acknowledges, or one that is retained.
fn publish(port: u16, topic: &str, payload: &'static str, qos: QoS, retain: bool) {
    let mut mqtt = Mqtt::connect(port, "single").unwrap();
    let mut publish = Publish::new(topic, qos, Bytes::from_static(payload.as_bytes()));
    publish.retain = retain;
    publish.pkid = u16::from(qos == QoS::AtLeastOnce);
    mqtt.send(&[Packet::Publish(publish), Packet::PingReq])
        .unwrap();
    // The broker has taken it when it answers what came behind it.
    while !matches!(mqtt.receive().unwrap(), Packet::PingResp) {}
}

#[test]
fn qos_0_stays_qos_0_both_ways() {
    let rig = Rig::start();
    let config = format!(
        "{}[[cloud.test.out]]\ntopic = \"low/#\"\nqos = 0\n[[cloud.test.in]]\ntopic = \"down/#\"\nqos = 0\n",
        rig.config("")
    );
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    for (from, to, client, rows) in [
        (
            &rig.local,
            &rig.cloud,
            "device-1",
            [("out/a", "dev/a", 0), ("low/b", "low/b", 1)],
        ),
        (
            &rig.cloud,
            &rig.local,
            "tedge-hsm-bridge-test",
            [("cmd/a", "in/a", 0), ("down/b", "down/b", 1)],
        ),
    ] {
        let at_target = Subscriber::start(to.port, "check", "#");
        for (topic, wanted, qos) in rows {
            // Published with 0 under a rule with 1, and the other way round: the lower one counts.
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce][qos];
            publish(from.port, topic, "x", qos, false);
            at_target.await_message(wanted, |topic, _| topic == wanted);
            let line = format!("Received PUBLISH from {client} (d0, q0, r0, m0, '{wanted}'");
            assert!(to.log().contains(&line), "{}", to.log());
        }
    }
}

/// QoS 0 is for who is there; QoS 1 waits.
#[test]
fn qos_0_is_dropped_while_the_other_broker_is_away() {
    let mut rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    rig.proxy.close();
    bridge.await_notification("test: cloud down");
    publish(rig.local.port, "out/x", "lost", QoS::AtMostOnce, false);
    publish_all(rig.local.port, "p", &[message("out/x", "kept")]);
    bridge.await_notification("1 held, 1 dropped");
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    rig.proxy.open();
    cloud.await_message("the message with QoS 1", |_, text| text == "kept");
    assert_eq!(cloud.len(), 1);
    bridge.await_notification("test: up");

    rig.local.end();
    bridge.await_notification("local broker down");
    publish(rig.cloud.port, "cmd/x", "lost", QoS::AtMostOnce, false);
    publish_all(rig.cloud.port, "p", &[message("cmd/x", "kept")]);
    bridge.await_notification("1 held, 2 dropped");
    rig.local.run();
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    publish_all(rig.cloud.port, "p", &[message("cmd/x", "last")]);
    local.await_message("the last message", |_, text| text == "last");
    assert!(!local.messages().contains(&message("in/x", "lost")));
}

/// The subscriptions are made again, and what was not acknowledged is sent again.
#[test]
fn a_cloud_that_forgot_the_session_is_subscribed_to_again() {
    let mut rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    rig.cloud.freeze();
    publish_all(rig.local.port, "p", &[message("out/x", "on its way")]);
    bridge.await_notification("1 held");
    rig.cloud.thaw();
    rig.cloud.forget();
    // The broker starts with nothing that it had.
    rig.cloud.run();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    await_some("the second new session", || {
        (bridge.count("a new session") == 3).then_some(())
    });
    publish_all(rig.local.port, "p", &[message("out/x", "out")]);
    cloud.await_message("the message out", |_, text| text == "out");
    await_some("the subscription", || {
        publish_all(rig.cloud.port, "p", &[message("cmd/x", "in")]);
        (!local.is_empty()).then_some(())
    });
}

/// A subscription that stands is not made again: the broker would send all that it has retained.
#[test]
fn retained_messages_do_not_come_again_with_each_connection() {
    let rig = Rig::start();
    publish(rig.cloud.port, "cmd/r", "retained", QoS::AtLeastOnce, true);
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    bridge.await_ready();
    local.await_message("what is retained", |_, text| text == "retained");
    bridge.await_notification("0 out, 1 in, 0 held");
    let before = bridge.count("the session goes on");
    rig.proxy.cut();
    bridge.await_log("the session goes on", before);
    publish_all(rig.cloud.port, "p", &[message("cmd/x", "next")]);
    local.await_message("the next message", |_, text| text == "next");
    assert_eq!(local.len(), 2);
}
