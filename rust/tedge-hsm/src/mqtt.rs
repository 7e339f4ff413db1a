//! One MQTT 3.1.1 conversation over a TLS stream. The packets are rumqttc's; its client can't take a
//! stream that is connected already, whose handshake `connect` wants to describe.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, anyhow, bail};
use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Disconnect, Packet, Publish, Subscribe, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{self, QoS};

use crate::tls::{TlsStream, explain};

/// An open MQTT connection.
pub(crate) struct Mqtt {
    stream: TlsStream,
    received: BytesMut,
    /// Messages that came while something else was awaited.
    messages: Vec<Publish>,
}

impl Mqtt {
    /// Sends CONNECT with a clean session and waits for a CONNACK that accepts it.
    pub(crate) fn connect(stream: TlsStream, client_id: &str) -> anyhow::Result<Self> {
        let mut mqtt = Self {
            stream,
            received: BytesMut::new(),
            messages: Vec::new(),
        };
        let mut connect = Connect::new(client_id);
        connect.keep_alive = KEEP_ALIVE;
        mqtt.stream.sock.restart();
        mqtt.send(|buffer| connect.write(buffer))?;
        match mqtt.receive().context("no CONNACK")? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => Ok(mqtt),
            Packet::ConnAck(ack) => bail!("the broker refused the connection: {:?}", ack.code),
            other => bail!("the broker answered CONNECT with {other:?}"),
        }
    }

    /// Subscribes with QoS 1 and waits for the broker to grant it.
    pub(crate) fn subscribe(&mut self, topic: &str) -> anyhow::Result<()> {
        self.stream.sock.restart();
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
        self.stream.sock.restart();
        while self.messages.is_empty() {
            let packet = self.receive().context("no message")?;
            self.put_aside(packet)?;
        }
        let message = self.messages.remove(0);
        Ok((message.topic, message.payload.to_vec()))
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
            Packet::Publish(message) => {
                if message.qos == QoS::AtLeastOnce {
                    let ack = mqttbytes::v4::PubAck::new(message.pkid);
                    self.send(|buffer| ack.write(buffer))?;
                }
                self.messages.push(message);
                Ok(())
            }
            Packet::PingResp => Ok(()),
            other => Err(anyhow!("the broker sent an unexpected {other:?}")),
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

/// In seconds. No conversation here is quiet for longer than its time limits, and the broker waits
/// one and a half times this long.
const KEEP_ALIVE: u16 = 3600;
/// Longest packet taken, in bytes.
const MAX_PACKET_LEN: usize = 1024 * 1024;
