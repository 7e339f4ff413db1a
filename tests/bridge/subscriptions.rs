//! Subscriptions that a broker does not make, or not all of them. mosquitto does neither when it is told to, so the
//! broker is a script here.

use crate::rig::Rig;
use crate::script::{SUBSCRIBE, Script};

/// The broker is on it again with a session that has what the cut left: not what it should have.
#[test]
fn subscriptions_that_a_cut_left_unmade_are_made_again() {
    let rig = Rig::start();
    let (broker, bridge) = Script::local(&rig, "");
    let mut connection = broker.connect(false);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.suback(&subscribe, 1);
    bridge.await_notification("test: up");
    // The broker has lost the session, and the connection breaks before it has answered.
    drop(connection);
    let mut connection = broker.connect(false);
    connection.await_packet(SUBSCRIBE);
    drop(connection);
    let mut connection = broker.connect(true);
    connection.await_packet(SUBSCRIBE);
}

#[test]
fn a_refused_subscription_is_told_and_tried_again() {
    let rig = Rig::start();
    let (broker, bridge) = Script::local(&rig, "");
    let mut connection = broker.connect(false);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.suback(&subscribe, 0x80);
    bridge.await_log("the broker refused the subscription to out/#", 0);
    bridge.await_notification("subscription refused: out/#");
    drop(connection);
    let mut connection = broker.connect(true);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.suback(&subscribe, 1);
    bridge.await_notification("test: up; ");
}

/// Fewer answers than filters, or an answer to nothing that was asked.
#[test]
fn an_answer_that_does_not_fit_is_told() {
    let rig = Rig::start();
    let (broker, bridge) = Script::local(&rig, "");
    let mut connection = broker.connect(false);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.write(&[0x90, 4, subscribe[0], subscribe[1], 1, 1]);
    bridge.await_log("answered 1 filters of a SUBSCRIBE with 2 return codes", 0);
    let mut connection = broker.connect(true);
    connection.await_packet(SUBSCRIBE);
    connection.write(&[0x90, 3, 0, 7, 1]);
    bridge.await_log("the broker sent an unexpected SUBACK", 0);
    let _connection = broker.subscribe();
    bridge.await_notification("test: up; ");
}
