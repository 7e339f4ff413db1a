//! One MQTT 3.1.1 conversation over a TLS stream. The packets are rumqttc's; its client can't take a
//! stream that is connected already, whose handshake `connect` wants to describe.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, anyhow, bail};
use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Disconnect, Login, Packet, Publish, Subscribe, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{self, QoS};
use tedge_p11_client::Pin;

use crate::tls::{TlsStream, explain};

/// An open MQTT connection.
pub(crate) struct Mqtt {
    stream: TlsStream,
    received: BytesMut,
    /// The first messages that came. One is awaited; more of them could fill the memory.
    messages: VecDeque<Publish>,
    session: Session,
    /// What was subscribed to.
    topics: Vec<String>,
}

/// What is to become of what the broker keeps for the client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It is forgotten.
    Clean,
    /// It stays, with the messages that wait.
    Kept,
}

impl Mqtt {
    /// Sends CONNECT and waits for a CONNACK that accepts it.
    pub(crate) fn connect(
        stream: TlsStream,
        client_id: &str,
        login: Option<(&str, Option<&Pin>)>,
        session: Session,
    ) -> anyhow::Result<Self> {
        let mut mqtt = Self {
            stream,
            received: BytesMut::new(),
            messages: VecDeque::new(),
            session,
            topics: Vec::new(),
        };
        let mut connect = Connect::new(client_id);
        connect.keep_alive = KEEP_ALIVE;
        connect.clean_session = session == Session::Clean;
        connect.login = login.map(|(user, password)| {
            let password = password.map(Pin::expose).unwrap_or_default();
            Login::new(user, password)
        });
        mqtt.stream.sock.restart();
        mqtt.send(|buffer| connect.write(buffer))?;
        match mqtt.receive().context("no CONNACK")? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => Ok(mqtt),
            Packet::ConnAck(ack) => {
                bail!("the broker refused the connection: {}", refusal(ack.code))
            }
            other => bail!("the broker answered CONNECT with {}", name(&other)),
        }
    }

    /// Subscribes with QoS 1 and waits for the broker to grant it.
    pub(crate) fn subscribe(&mut self, topic: &str) -> anyhow::Result<()> {
        self.stream.sock.restart();
        self.topics.push(topic.to_owned());
        let mut subscribe = Subscribe::new(topic, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(|buffer| subscribe.write(buffer))?;
        loop {
            match self.receive().context("no SUBACK")? {
                Packet::SubAck(ack) if ack.return_codes == [SubscribeReasonCode::Failure] => {
                    bail!("the broker refused the subscription to {topic}")
                }
                Packet::SubAck(_) => return Ok(()),
                other => self.put_aside(other)?,
            }
        }
    }

    /// Publishes with QoS 1 and waits for the acknowledgement.
    pub(crate) fn publish(&mut self, topic: &str, message: &str) -> anyhow::Result<()> {
        self.stream.sock.restart();
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, message);
        publish.pkid = 2;
        self.send(|buffer| publish.write(buffer))?;
        loop {
            match self.receive().context("no PUBACK")? {
                Packet::PubAck(ack) if ack.pkid == 2 => return Ok(()),
                other => self.put_aside(other)?,
            }
        }
    }

    /// Waits for a message and returns its topic and payload.
    pub(crate) fn next_message(&mut self) -> anyhow::Result<(String, Vec<u8>)> {
        self.find_message(|topic, payload| Some((topic.to_owned(), payload.to_vec())))
    }

    /// Waits for the message of whose topic and payload `wanted` makes something, within one time limit however many
    /// others come before it, and not for ever many.
    pub(crate) fn find_message<T>(
        &mut self,
        mut wanted: impl FnMut(&str, &[u8]) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.stream.sock.restart();
        for _ in 0..MAX_OTHERS {
            let message = loop {
                if let Some(message) = self.messages.pop_front() {
                    break message;
                }
                let packet = self.receive().context("no message")?;
                self.put_aside(packet)?;
            };
            if let Some(found) = wanted(&message.topic, &message.payload) {
                return Ok(found);
            }
        }
        bail!("the broker sent {MAX_OTHERS} messages, and none of them is the one that is awaited")
    }

    /// Forgets the messages that came and were not looked at.
    pub(crate) fn forget_messages(&mut self) {
        self.messages.clear();
    }

    /// Says goodbye; that it arrives is not essential.
    pub(crate) fn disconnect(mut self) {
        self.stream.sock.restart();
        let _ = self.send(|buffer| Disconnect.write(buffer));
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }

    fn put_aside(&mut self, packet: Packet) -> anyhow::Result<()> {
        match packet {
            // It waits for the program whose session this is, and comes to it again as long as it is not acknowledged.
            Packet::Publish(message)
                if self.session == Session::Kept && !self.topics.contains(&message.topic) =>
            {
                Ok(())
            }
            Packet::Publish(message) => {
                if message.qos == QoS::AtLeastOnce {
                    let ack = mqttbytes::v4::PubAck::new(message.pkid);
                    self.send(|buffer| ack.write(buffer))?;
                }
                if self.messages.len() < MAX_KEPT {
                    self.messages.push_back(message);
                }
                Ok(())
            }
            Packet::PingResp => Ok(()),
            other => Err(anyhow!(
                "the broker sent {}, which has no place there",
                name(&other)
            )),
        }
    }

    fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>,
    ) -> anyhow::Result<()> {
        let mut buffer = BytesMut::new();
        write(&mut buffer)?;
        self.stream
            .write_all(&buffer)
            .and_then(|()| self.stream.flush())
            .map_err(|error| explain(&error))
    }

    fn receive(&mut self) -> anyhow::Result<Packet> {
        let mut chunk = [0; 4096];
        loop {
            match Packet::read(&mut self.received, MAX_PACKET_LEN) {
                Ok(packet) => return Ok(packet),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(anyhow!("the broker sent a malformed packet: {error}")),
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(len) => self.received.extend_from_slice(&chunk[..len]),
                Err(error) => return Err(explain(&error)),
            }
        }
    }
}

/// What the return code of a CONNACK means (MQTT 3.1.1, section 3.2.2.3).
fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "no reason",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => {
            "it does not take the client id; give another by --client-id"
        }
        ConnectReturnCode::ServiceUnavailable => "it is not available; try again later",
        ConnectReturnCode::BadUserNamePassword => {
            "bad user name or password; give them by --username and --password-file"
        }
        ConnectReturnCode::NotAuthorized => {
            "not authorised; does it know the device, the client id, and --username?"
        }
    }
}

/// A packet, as MQTT 3.1.1 calls it.
fn name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::ConnAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PubAck(_) => "PUBACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubAck(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::PingReq => "PINGREQ",
        Packet::PingResp => "PINGRESP",
        Packet::Disconnect => "DISCONNECT",
    }
}

/// In seconds. No conversation here is quiet for longer than its time limits, and the broker waits
/// one and a half times this long.
const KEEP_ALIVE: u16 = 3600;
/// Messages that are kept until somebody looks at them.
const MAX_KEPT: usize = 8;
/// Messages that may come before the one that is awaited.
const MAX_OTHERS: usize = 64;
/// Longest packet taken, in bytes.
const MAX_PACKET_LEN: usize = 1024 * 1024;
