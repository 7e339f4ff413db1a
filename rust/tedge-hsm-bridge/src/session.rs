//! One MQTT 3.1.1 session over one connection: packets in the bytes, keep-alive.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rumqttc::mqttbytes::v4::{Packet, PingReq, PubAck, Publish};
use rumqttc::mqttbytes::{self, QoS};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connect::Connected;
use crate::stream::Stream;

/// A session that the broker has accepted.
pub(crate) struct Session {
    stream: Stream,
    received: BytesMut,
    /// What is left of a packet that is too long to be taken.
    skip: usize,
    max_message: usize,
    keep_alive: Duration,
    started: Instant,
    last_received: Instant,
    last_sent: Instant,
    pinged: Option<Instant>,
    /// Set to a time that is not after [`Session::deadline`], and set anew only when that has come: not for
    /// each packet.
    timer: Pin<Box<Sleep>>,
}

/// What the broker sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    Packet(Packet),
    /// A message that is too long to be taken, and was not.
    TooLong {
        topic: String,
        len: usize,
        /// To be acknowledged, unless it came with QoS 0.
        id: Option<u16>,
    },
}

impl Session {
    pub(crate) fn new(
        connected: Connected,
        keep_alive: u16,
        max_message: usize,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let keep_alive = Duration::from_secs(keep_alive.into());
        Ok(Self {
            stream: Stream::new(connected.socket, connected.tls)?,
            received: connected.received,
            skip: 0,
            max_message,
            keep_alive,
            started: now,
            last_received: now,
            last_sent: now,
            pinged: None,
            timer: Box::pin(sleep_until(now + keep_alive)),
        })
    }

    /// Waits until there is something to be done.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        if self.timer.is_elapsed() {
            let deadline = self.deadline();
            self.timer.as_mut().reset(deadline);
        }
        tokio::select! {
            biased;
            ready = self.stream.ready() => ready.map(drop),
            () = &mut self.timer => Ok(()),
        }
    }

    /// Reads what has arrived, up to a limit, for the other side to have its turn.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        if self.stream.read(&mut self.received, TURN)? > 0 {
            self.last_received = Instant::now();
            self.pinged = None;
        }
        Ok(())
    }

    /// The next of the packets that were read.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, mqttbytes::Error> {
        let skipped = self.skip.min(self.received.len());
        self.received.advance(skipped);
        self.skip -= skipped;
        let limit = self.max_message + HEADER;
        match Packet::read(&mut self.received, limit) {
            Ok(packet) => Ok(Some(Incoming::Packet(packet))),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(mqttbytes::Error::PayloadSizeLimitExceeded(len)) => self.too_long(len),
            Err(error) => Err(error),
        }
    }

    /// A packet of `len` bytes after its header. If it is a message, its beginning is enough to know what it
    /// was; the rest is skipped as it comes.
    fn too_long(&mut self, len: usize) -> Result<Option<Incoming>, mqttbytes::Error> {
        let bytes = &self.received[..];
        if bytes[0] >> 4 != PUBLISH {
            return Err(mqttbytes::Error::PayloadSizeLimitExceeded(len));
        }
        let Some(header) = bytes.iter().skip(1).position(|byte| byte & 0x80 == 0) else {
            return Ok(None);
        };
        let header = header + 2;
        let Some((beginning, id_len)) = beginning(bytes, header) else {
            return Ok(None);
        };
        let topic_len = beginning.len() - 2;
        if topic_len + 2 + id_len > len {
            return Err(mqttbytes::Error::MalformedPacket);
        }
        let topic = String::from_utf8_lossy(&beginning[2..]).into_owned();
        let at = header + beginning.len();
        let id = (id_len == 2).then(|| u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let taken = at + id_len;
        self.received.advance(taken);
        self.skip = len + header - taken;
        Ok(Some(Incoming::TooLong { topic, len, id }))
    }

    /// Whether there is room for another message to be written; what does not go out stays in memory.
    pub(crate) fn has_room(&mut self) -> bool {
        self.stream.outgoing().len() < TURN
    }

    pub(crate) fn publish(&mut self, publish: &Publish) -> Result<(), mqttbytes::Error> {
        publish.write(self.stream.outgoing()).map(drop)
    }

    pub(crate) fn acknowledge(&mut self, id: u16) -> Result<(), mqttbytes::Error> {
        PubAck::new(id).write(self.stream.outgoing()).map(drop)
    }

    pub(crate) fn send(&mut self, packet: &Packet) -> Result<(), mqttbytes::Error> {
        packet.write(self.stream.outgoing(), usize::MAX).map(drop)
    }

    /// Writes what there is room for, pings when it is time to, and fails when the broker is silent or takes
    /// nothing any more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let is_over = |since: Instant, limit| now >= since + limit;
        // Also when only we have something to say: it may never arrive. What is stuck is as good as a ping.
        let stuck = self.stream.has_outgoing();
        if !stuck && self.pinged.is_none() && is_over(self.quiet_since(), self.keep_alive) {
            PingReq
                .write(self.stream.outgoing())
                .map_err(io::Error::other)?;
            self.pinged = Some(now);
        }
        if self.stream.flush()? {
            self.last_sent = now;
        }
        let stuck = self.stream.has_outgoing();
        if self
            .pinged
            .is_some_and(|pinged| is_over(pinged, self.grace()))
            || (stuck && is_over(self.last_sent, self.keep_alive + self.grace()))
        {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it does not answer any more",
            ));
        }
        Ok(())
    }

    /// After all that is to be written now.
    pub(crate) fn settle(&mut self) {
        self.stream.settle();
    }

    /// How long it has lived.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Says goodbye, so that the broker does not publish the last will.
    pub(crate) fn close(mut self) {
        if self.send(&Packet::Disconnect).is_ok() {
            let _ = self.flush();
        }
        self.stream.close();
    }

    fn deadline(&self) -> Instant {
        match self.pinged {
            Some(pinged) => pinged + self.grace(),
            None if self.stream.has_outgoing() => self.last_sent + self.keep_alive + self.grace(),
            None => self.quiet_since() + self.keep_alive,
        }
    }

    fn quiet_since(&self) -> Instant {
        self.last_sent.min(self.last_received)
    }

    /// For the answer to a ping; brokers wait half the keep-alive longer, too.
    fn grace(&self) -> Duration {
        (self.keep_alive / 2).max(Duration::from_secs(5))
    }
}

/// Length and text of the topic, and how long the packet identifier is; none if not all of it has arrived.
fn beginning(bytes: &[u8], header: usize) -> Option<(&[u8], usize)> {
    let len = bytes.get(header..header + 2)?;
    let topic_len = usize::from(u16::from_be_bytes([len[0], len[1]]));
    let id_len = if (bytes[0] >> 1) & 3 == QoS::AtMostOnce as u8 {
        0
    } else {
        2
    };
    bytes.get(..header + 2 + topic_len + id_len)?;
    Some((&bytes[header..header + 2 + topic_len], id_len))
}

const PUBLISH: u8 = 3;
/// Most that is read or put aside for writing in one turn, in bytes.
const TURN: usize = 64 * 1024;
/// Of a message beside its topic and payload: length of the topic and packet identifier.
const HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::connect::BlockingSocket;

    fn session(bytes: &[u8]) -> Session {
        let (here, _there) = UnixStream::pair().unwrap();
        let connected = Connected {
            socket: BlockingSocket::Unix(here),
            tls: None,
            received: bytes.into(),
            session_present: true,
            description: String::new(),
            certificate: None,
        };
        Session::new(connected, 60, 10).unwrap()
    }

    #[tokio::test]
    async fn messages_that_are_too_long_are_skipped_however_they_arrive() {
        let mut bytes = BytesMut::new();
        let mut long = Publish::new("topic", QoS::AtLeastOnce, vec![7; 1000]);
        long.pkid = 515;
        long.write(&mut bytes).unwrap();
        Publish::new("quick", QoS::AtMostOnce, vec![7; 20])
            .write(&mut bytes)
            .unwrap();
        PubAck::new(9).write(&mut bytes).unwrap();
        Publish::new("topic", QoS::AtMostOnce, vec![7; 5])
            .write(&mut bytes)
            .unwrap();
        for step in [1, 3, 100, bytes.len()] {
            let mut session = session(&[]);
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                session.received.extend_from_slice(chunk);
                while let Some(incoming) = session.next().unwrap() {
                    seen.push(match incoming {
                        Incoming::TooLong { topic, id, .. } => format!("{topic} {id:?}"),
                        Incoming::Packet(Packet::PubAck(ack)) => format!("ack {}", ack.pkid),
                        Incoming::Packet(packet) => format!("{} bytes", packet.size()),
                    });
                }
            }
            assert_eq!(
                seen,
                ["topic Some(515)", "quick None", "ack 9", "14 bytes"],
                "in steps of {step}"
            );
        }
    }

    #[tokio::test]
    async fn other_packets_that_are_too_long_end_the_session() {
        assert!(session(&[0x90, 0xff, 0x01, 0]).next().is_err());
        // The topic claims to be longer than the packet.
        let mut lying = vec![0x30, 100, 0, 200];
        lying.resize(300, b'x');
        assert!(session(&lying).next().is_err());
    }
}
