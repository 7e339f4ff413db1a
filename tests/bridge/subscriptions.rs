//! Subscriptions that a broker does not make, or not all of them. mosquitto does neither when it is told to, so the
//! broker is a script here.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use support::Bridge;
use support::mqtt::await_some;

use crate::rig::Rig;

/// The types of packets (MQTT 3.1.1, chapter 2.2.1), with the flags that they have.
const CONNECT: u8 = 0x10;
const SUBSCRIBE: u8 = 0x82;

/// A connection of the bridge's.
struct Connection(TcpStream);

impl Connection {
    fn accept(broker: &TcpListener, session_present: bool) -> Self {
        let (stream, _) = await_some("the bridge to connect", || broker.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        let mut connection = Self(stream);
        assert_eq!(connection.read().0, CONNECT);
        connection.write(&[0x20, 2, session_present.into(), 0]);
        connection
    }

    /// The first byte of a packet, and what comes after its length.
    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut byte = || {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            byte[0]
        };
        let (kind, mut len) = (byte(), 0);
        for shift in (0..).step_by(7) {
            let part = byte();
            len |= usize::from(part & 0x7f) << shift;
            if part < 0x80 {
                break;
            }
        }
        let mut rest = vec![0; len];
        self.0.read_exact(&mut rest).unwrap();
        (kind, rest)
    }

    /// The next packet of that type.
    fn await_packet(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let (kind, rest) = self.read();
            if kind & 0xf0 == wanted & 0xf0 {
                return rest;
            }
        }
    }

    /// Answers a SUBSCRIBE, for one filter, with that code.
    fn suback(&mut self, subscribe: &[u8], code: u8) {
        self.write(&[0x90, 3, subscribe[0], subscribe[1], code]);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }
}

/// A bridge whose local broker is a script.
fn scripted(rig: &Rig) -> (TcpListener, Bridge) {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    broker.set_nonblocking(true).unwrap();
    let port = broker.local_addr().unwrap().port();
    let config = rig.config("").replace(
        &format!("[local]\nport = {}\n", rig.local.port),
        &format!("[local]\nport = {port}\n"),
    );
    assert!(config.contains(&port.to_string()), "{config}");
    let bridge = Bridge::spawn(rig.dir(), &config);
    (broker, bridge)
}

/// The broker is on it again with a session that has what the cut left: not what it should have.
#[test]
fn subscriptions_that_a_cut_left_unmade_are_made_again() {
    let rig = Rig::start();
    let (broker, bridge) = scripted(&rig);
    let mut connection = Connection::accept(&broker, false);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.suback(&subscribe, 1);
    bridge.await_notification("test: up");
    // The broker has lost the session, and the connection breaks before it has answered.
    drop(connection);
    let mut connection = Connection::accept(&broker, false);
    connection.await_packet(SUBSCRIBE);
    drop(connection);
    let mut connection = Connection::accept(&broker, true);
    connection.await_packet(SUBSCRIBE);
}

#[test]
fn a_refused_subscription_is_told_and_tried_again() {
    let rig = Rig::start();
    let (broker, bridge) = scripted(&rig);
    let mut connection = Connection::accept(&broker, false);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.suback(&subscribe, 0x80);
    bridge.await_log("the broker refused the subscription to out/#", 0);
    bridge.await_notification("subscription refused: out/#");
    drop(connection);
    let mut connection = Connection::accept(&broker, true);
    let subscribe = connection.await_packet(SUBSCRIBE);
    connection.suback(&subscribe, 1);
    bridge.await_notification("test: up; ");
}
