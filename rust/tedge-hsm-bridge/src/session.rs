//! One MQTT 3.1.1 session over one connection: its packets, keep-alive.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Packet, PingReq, PubAck, PubRec, Publish};
use rumqttc::mqttbytes::{self, QoS};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connect::Connected;
use crate::packet::{Incoming, Reader, Violation};
use crate::stream::Stream;

/// A session that the broker has accepted.
pub(crate) struct Session {
    stream: Stream,
    received: BytesMut,
    reader: Reader,
    /// Most bytes that wait to be written, unless the broker breaks the protocol.
    max_outgoing: usize,
    keep_alive: Duration,
    started: Instant,
    last_received: Instant,
    last_sent: Instant,
    pinged: Option<Instant>,
    /// Set to a time that is not after [`Session::deadline`], and set anew only when that has come: not for
    /// each packet.
    timer: Pin<Box<Sleep>>,
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
            reader: Reader::new(max_message),
            max_outgoing: TURN + max_message + MAX_ANSWERS,
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

    /// The next of the packets that were read. Most of them have an answer: that a broker reads none does not fill
    /// the memory.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, Violation> {
        if self.stream.outgoing().len() > self.max_outgoing {
            return Err(Violation::Unread);
        }
        self.reader.next(&mut self.received)
    }

    /// Whether there is room for another message to be written; what does not go out stays in memory.
    pub(crate) fn has_room(&mut self) -> bool {
        self.stream.outgoing().len() < TURN
    }

    pub(crate) fn publish(&mut self, publish: &Publish) -> Result<(), mqttbytes::Error> {
        publish.write(self.stream.outgoing()).map(drop)
    }

    /// Acknowledges a message that came with this QoS.
    pub(crate) fn acknowledge(&mut self, id: u16, qos: QoS) -> Result<(), mqttbytes::Error> {
        let outgoing = self.stream.outgoing();
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => PubAck::new(id).write(outgoing).map(drop),
            // What comes with QoS 2 is forwarded at least once: a session that another program began has such
            // messages. A PUBREL is the answer, to which PUBCOMP is ours.
            QoS::ExactlyOnce => PubRec::new(id).write(outgoing).map(drop),
        }
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

    /// Whether something waits for room in the connection.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stream.has_outgoing()
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

/// Most that is read or put aside for writing in one turn, in bytes.
const TURN: usize = 64 * 1024;
/// What a broker may leave unread of answers, in bytes. It has 65,535 identifiers, of which it uses none anew before it
/// has read the last answer for it (MQTT 3.1.1, section 2.3.1); with QoS 2 there are two, of four bytes each.
const MAX_ANSWERS: usize = 65_535 * 2 * 4;
