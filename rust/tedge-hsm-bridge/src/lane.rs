//! One direction: what one broker gave and the other has not acknowledged yet.

use std::collections::VecDeque;

use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::Publish;

/// The messages on their way from one broker, the source, to the other, the sink, in the order in which
/// they came. The source keeps its copy of each until the sink has acknowledged it: nothing is lost with
/// a lane. It does no I/O.
#[derive(Debug)]
pub(crate) struct Lane {
    held: VecDeque<Held>,
    /// Index of the first that was not sent over the sink's present connection.
    next: usize,
    /// Sent over the sink's present connection with QoS 1, and not acknowledged.
    in_flight: usize,
    /// Most that are in flight at a time.
    window: usize,
    /// Of all that is held.
    bytes: usize,
    max_bytes: usize,
    last_id: u16,
    /// Whether a message was not taken, for lack of room: none that follows may be, for the order.
    refusing: bool,
    /// How many the sink has acknowledged, or taken with QoS 0, since the start.
    delivered: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is held now.
    Held,
    /// It was held already: the source sends it again over its new connection.
    Again,
    /// There is no room. The source keeps it, and sends it again when it is connected to anew.
    Refused,
}

#[derive(Debug)]
struct Held {
    /// As it is sent. It has a packet identifier once it was sent, and keeps that.
    publish: Publish,
    /// The source's packet identifier; 0 for QoS 0.
    came_as: u16,
    origin: Origin,
    /// By the sink.
    acknowledged: bool,
}

/// What the source knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It waits for an acknowledgement over its present connection.
    Waits,
    /// Its connection was lost: it may send the message again.
    Lost,
    /// It does not wait: the message came with QoS 0, or was not sent again when it was its turn.
    Forgotten,
}

impl Lane {
    /// Holds up to `max_bytes`, but always one message, with up to `window` in flight.
    pub(crate) fn new(window: u16, max_bytes: usize) -> Self {
        Self {
            held: VecDeque::new(),
            next: 0,
            in_flight: 0,
            window: window.into(),
            bytes: 0,
            max_bytes,
            last_id: 0,
            refusing: false,
            delivered: 0,
        }
    }

    /// Takes a message that came from the source as `origin`. It is to be sent with this topic and flag;
    /// its QoS stays.
    pub(crate) fn take(&mut self, came: &Publish, topic: String, retain: bool) -> Taken {
        let reliable = came.qos != QoS::AtMostOnce;
        if reliable {
            if came.dup && self.is_known(came, &topic) {
                return Taken::Again;
            }
            // What a source sends again comes before what is new.
            self.forget();
        }
        let size = OVERHEAD + topic.len() + came.payload.len();
        if self.refusing || (!self.held.is_empty() && self.bytes + size > self.max_bytes) {
            // QoS 0 would not come again.
            self.refusing |= reliable;
            return Taken::Refused;
        }
        self.bytes += size;
        self.held.push_back(Held {
            publish: Publish {
                dup: false,
                qos: if reliable { QoS::AtLeastOnce } else { came.qos },
                retain,
                topic,
                pkid: 0,
                // The payload that came is a part of a larger buffer, which it would keep alive.
                payload: Bytes::copy_from_slice(&came.payload),
            },
            came_as: came.pkid,
            origin: if reliable {
                Origin::Waits
            } else {
                Origin::Forgotten
            },
            acknowledged: false,
        });
        Taken::Held
    }

    /// Takes no more until the source's connection is a new one.
    pub(crate) fn refuse(&mut self) {
        self.refusing = true;
    }

    /// A message that the source sends again and that is still here is not forwarded twice. By MQTT 3.1.1,
    /// section 4.4, it comes with the identifier that it had, and they come in order.
    fn is_known(&mut self, came: &Publish, topic: &str) -> bool {
        let found = self.held.iter().position(|held| {
            held.origin == Origin::Lost
                && held.came_as == came.pkid
                && held.publish.topic == topic
                && held.publish.payload == came.payload
        });
        let Some(at) = found else {
            return false;
        };
        for held in self.held.iter_mut().take(at) {
            if held.origin == Origin::Lost {
                held.origin = Origin::Forgotten;
            }
        }
        self.held[at].origin = Origin::Waits;
        true
    }

    /// The source does not send again what it has not sent again yet.
    pub(crate) fn forget(&mut self) {
        // They are the first, if there are any.
        for held in &mut self.held {
            match held.origin {
                Origin::Lost => held.origin = Origin::Forgotten,
                Origin::Forgotten => {}
                Origin::Waits => break,
            }
        }
    }

    /// What is to be sent to the sink next, if it may be.
    pub(crate) fn next_to_send(&mut self) -> Option<&Publish> {
        while self.held.get(self.next)?.acknowledged {
            self.next += 1;
        }
        if self.in_flight >= self.window {
            return None;
        }
        let at = self.next;
        if self.held[at].publish.qos == QoS::AtMostOnce {
            self.held[at].acknowledged = true;
            self.delivered += 1;
        } else {
            if self.held[at].publish.pkid == 0 {
                self.held[at].publish.pkid = self.free_id();
            }
            self.in_flight += 1;
        }
        self.next += 1;
        Some(&self.held[at].publish)
    }

    /// Whether there is something to be sent that may be sent now.
    pub(crate) fn has_more(&self) -> bool {
        let mut rest = self.held.iter().skip(self.next);
        self.in_flight < self.window && rest.any(|held| !held.acknowledged)
    }

    /// The sink has acknowledged. Returns false for an identifier that is not in flight.
    pub(crate) fn acknowledged(&mut self, id: u16) -> bool {
        let sent = self.held.iter_mut().take(self.next);
        // As a rule the first that is not acknowledged.
        let Some(held) = sent
            .filter(|held| !held.acknowledged)
            .find(|held| held.publish.pkid == id)
        else {
            return false;
        };
        held.acknowledged = true;
        self.in_flight -= 1;
        self.delivered += 1;
        true
    }

    /// What is to be acknowledged to the source next: in the order in which it came, as MQTT 3.1.1,
    /// section 4.6, demands.
    pub(crate) fn next_to_acknowledge(&mut self) -> Option<u16> {
        loop {
            let first = self.held.front()?;
            // One that is delivered stays until it is known whether the source sends it again.
            if !first.acknowledged || first.origin == Origin::Lost {
                return None;
            }
            let held = self.held.pop_front()?;
            self.bytes -= OVERHEAD + held.publish.topic.len() + held.publish.payload.len();
            self.next = self.next.saturating_sub(1);
            if held.origin == Origin::Waits {
                return Some(held.came_as);
            }
        }
    }

    /// The source's connection is gone, and with it what it meant by its identifiers.
    pub(crate) fn source_lost(&mut self) {
        for held in &mut self.held {
            if held.origin == Origin::Waits {
                held.origin = Origin::Lost;
            }
        }
        self.refusing = false;
    }

    /// The sink's connection is gone: over the next one, all that it has not acknowledged is sent again, in
    /// order, with the same identifiers.
    pub(crate) fn sink_lost(&mut self) {
        for held in &mut self.held {
            held.publish.dup |= held.publish.pkid != 0;
        }
        self.next = 0;
        self.in_flight = 0;
    }

    /// Whether the source should be connected to anew, to send again what was refused.
    pub(crate) fn wants_refused(&self) -> bool {
        self.refusing && self.bytes <= self.max_bytes / 2
    }

    /// Messages that the sink has to acknowledge.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Messages that are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// One that no message in flight has. The window is smaller than the range.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % MAX_ID + 1;
            let id = self.last_id;
            let mut sent = self.held.iter().take(self.next);
            if sent.all(|held| held.publish.pkid != id) {
                return id;
            }
        }
    }
}

/// Highest packet identifier of a forwarded message; those above are for the session's own packets.
pub(crate) const MAX_ID: u16 = 0xfff0;
/// What a message costs beside its bytes.
const OVERHEAD: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: usize = OVERHEAD + 2;

    fn message(id: u16, payload: u8) -> Publish {
        let mut publish = Publish::new("t", QoS::AtLeastOnce, [payload]);
        publish.pkid = id;
        publish
    }

    fn again(id: u16, payload: u8) -> Publish {
        Publish {
            dup: true,
            ..message(id, payload)
        }
    }

    fn take(lane: &mut Lane, publish: &Publish) -> Taken {
        lane.take(publish, "t".to_owned(), false)
    }

    /// What is sent now: identifier, payload, DUP.
    fn sent(lane: &mut Lane) -> Vec<(u16, u8, bool)> {
        let mut sent = Vec::new();
        while let Some(publish) = lane.next_to_send() {
            sent.push((publish.pkid, publish.payload[0], publish.dup));
        }
        sent
    }

    fn acknowledged_to_source(lane: &mut Lane) -> Vec<u16> {
        std::iter::from_fn(|| lane.next_to_acknowledge()).collect()
    }

    #[test]
    fn the_source_is_acknowledged_after_the_sink_and_in_order() {
        let mut lane = Lane::new(10, 10_000);
        for id in [7, 8, 9] {
            assert_eq!(take(&mut lane, &message(id, 0)), Taken::Held);
        }
        assert!(acknowledged_to_source(&mut lane).is_empty());
        assert_eq!(sent(&mut lane).len(), 3);
        assert!(acknowledged_to_source(&mut lane).is_empty());
        assert!(lane.acknowledged(2));
        assert!(!lane.acknowledged(2));
        assert!(acknowledged_to_source(&mut lane).is_empty());
        assert!(lane.acknowledged(1));
        assert_eq!(acknowledged_to_source(&mut lane), [7, 8]);
        assert!(lane.acknowledged(3));
        assert_eq!(acknowledged_to_source(&mut lane), [9]);
        assert_eq!((lane.len(), lane.bytes, lane.in_flight), (0, 0, 0));
    }

    #[test]
    fn the_window_is_kept() {
        let mut lane = Lane::new(2, 10_000);
        for id in 1..=5 {
            take(&mut lane, &message(id, 0));
        }
        assert_eq!(sent(&mut lane).len(), 2);
        assert!(lane.acknowledged(1));
        assert_eq!(sent(&mut lane).len(), 1);
    }

    #[test]
    fn a_lost_sink_gets_the_same_again_in_order() {
        let mut lane = Lane::new(3, 10_000);
        for id in 1..=4 {
            take(&mut lane, &message(id, u8::try_from(id).unwrap()));
        }
        assert_eq!(
            sent(&mut lane),
            [(1, 1, false), (2, 2, false), (3, 3, false)]
        );
        lane.acknowledged(2);
        for _ in 0..3 {
            lane.sink_lost();
            // What was sent before comes first, what was not comes last.
            assert_eq!(sent(&mut lane), [(1, 1, true), (3, 3, true), (4, 4, false)]);
            assert!(!lane.acknowledged(2));
            lane.sink_lost();
            lane.held[3].publish.dup = false;
            lane.held[3].publish.pkid = 0;
            lane.last_id = 3;
        }
        // Lost again in the middle of it: the rest must not come before.
        lane.window = 1;
        assert_eq!(sent(&mut lane), [(1, 1, true)]);
        lane.sink_lost();
        lane.window = 3;
        assert_eq!(sent(&mut lane), [(1, 1, true), (3, 3, true), (4, 4, false)]);
    }

    #[test]
    fn what_a_lost_source_sends_again_is_held_once() {
        let mut lane = Lane::new(10, 10_000);
        take(&mut lane, &message(1, 1));
        take(&mut lane, &message(2, 2));
        assert_eq!(sent(&mut lane).len(), 2);
        take(&mut lane, &message(3, 3));
        lane.source_lost();
        lane.acknowledged(1);
        lane.acknowledged(2);
        // Not over the new connection, where it may mean something else.
        assert!(acknowledged_to_source(&mut lane).is_empty());
        // The first acknowledgement had arrived: 1 does not come again.
        assert_eq!(take(&mut lane, &again(2, 2)), Taken::Again);
        assert_eq!(acknowledged_to_source(&mut lane), [2]);
        assert_eq!(take(&mut lane, &again(3, 3)), Taken::Again);
        // The same words from somebody else.
        assert_eq!(take(&mut lane, &message(2, 2)), Taken::Held);
        assert_eq!(sent(&mut lane), [(3, 3, false), (4, 2, false)]);
        assert!(lane.acknowledged(3) && lane.acknowledged(4));
        assert_eq!(acknowledged_to_source(&mut lane), [3, 2]);
        assert_eq!(lane.len(), 0);
    }

    #[test]
    fn what_a_source_has_forgotten_is_delivered_all_the_same() {
        let mut lane = Lane::new(10, 10_000);
        take(&mut lane, &message(1, 1));
        lane.source_lost();
        // Another message has the identifier now.
        assert_eq!(take(&mut lane, &message(1, 5)), Taken::Held);
        assert_eq!(sent(&mut lane), [(1, 1, false), (2, 5, false)]);
        assert!(lane.acknowledged(1) && lane.acknowledged(2));
        assert_eq!(acknowledged_to_source(&mut lane), [1]);
        assert_eq!(lane.len(), 0);
    }

    #[test]
    fn no_room_means_nothing_more_until_the_source_is_connected_to_anew() {
        let mut lane = Lane::new(10, 2 * ONE);
        let takes = |lane: &mut Lane, id| take(lane, &message(id, 0));
        assert_eq!(takes(&mut lane, 1), Taken::Held);
        assert_eq!(takes(&mut lane, 2), Taken::Held);
        assert_eq!(takes(&mut lane, 3), Taken::Refused);
        assert!(!lane.wants_refused());
        sent(&mut lane);
        lane.acknowledged(1);
        assert_eq!(acknowledged_to_source(&mut lane), [1]);
        // Its turn would be after 3.
        assert_eq!(takes(&mut lane, 4), Taken::Refused);
        assert!(lane.wants_refused());
        lane.source_lost();
        assert_eq!(take(&mut lane, &again(2, 0)), Taken::Again);
        assert_eq!(take(&mut lane, &again(3, 0)), Taken::Held);
    }

    #[test]
    fn one_message_is_taken_however_long() {
        let mut lane = Lane::new(10, 0);
        assert_eq!(take(&mut lane, &message(1, 0)), Taken::Held);
        assert_eq!(take(&mut lane, &message(2, 0)), Taken::Refused);
    }

    #[test]
    fn qos_0_is_sent_once_and_not_acknowledged() {
        let mut lane = Lane::new(1, 2 * ONE);
        let mut publish = message(0, 5);
        publish.qos = QoS::AtMostOnce;
        take(&mut lane, &publish);
        take(&mut lane, &message(1, 6));
        assert_eq!(take(&mut lane, &publish), Taken::Refused);
        assert!(!lane.refusing);
        assert_eq!(sent(&mut lane), [(0, 5, false), (1, 6, false)]);
        lane.sink_lost();
        assert_eq!(sent(&mut lane), [(1, 6, true)]);
        assert!(lane.acknowledged(1));
        assert_eq!(acknowledged_to_source(&mut lane), [1]);
    }

    #[test]
    fn identifiers_in_flight_are_not_given_again() {
        let mut lane = Lane::new(10, 10_000);
        take(&mut lane, &message(1, 0));
        sent(&mut lane);
        lane.last_id = MAX_ID;
        take(&mut lane, &message(2, 0));
        assert_eq!(sent(&mut lane), [(2, 0, false)]);
    }
}
