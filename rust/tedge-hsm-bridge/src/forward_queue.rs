//! One direction: what one broker gave and the other has not acknowledged yet.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::Publish;

/// The messages on their way from one broker, the source, to the other, the sink, in the order in which
/// they came. The source keeps its copy of each until the sink has acknowledged it: nothing is lost with
/// a queue. It does no I/O.
#[derive(Debug)]
pub(crate) struct ForwardQueue {
    held: VecDeque<Held>,
    /// How many were held before the first of them.
    before: u64,
    /// Index of the first that was not sent over the sink's present connection.
    next: usize,
    /// Index before which none is [`Origin::Lost`].
    lost_from: usize,
    /// Which messages have the identifiers that the sink has not acknowledged, counted from the first that
    /// ever was held. Not more than the window.
    ids: HashMap<u16, u64>,
    /// Sent over the sink's present connection with QoS 1, and not acknowledged.
    in_flight: usize,
    /// Most that are in flight at a time.
    window: usize,
    /// Whether the sink has acknowledged something over its present connection.
    progress: bool,
    /// Whether one message at a time is sent, to find out which it is that the sink does not take: its last
    /// connection was lost before it had acknowledged anything.
    probing: bool,
    /// The message that the sink does not take, as it seems.
    suspect: Option<Suspect>,
    /// How many were acknowledged since the window was made smaller.
    since_smaller: u32,
    max_window: usize,
    /// Of all that is held.
    bytes: usize,
    max_bytes: usize,
    last_id: u16,
    intake: Intake,
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
    /// How it is acknowledged to the source.
    came_with: QoS,
    origin: Origin,
    /// By the sink.
    acknowledged: bool,
}

/// Whether messages are taken from the source over its present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    /// One was not taken, for lack of room: none that follows may be, for the order.
    Refusing,
    /// None is taken, however much room there is.
    Closed,
}

/// A message that the sink does not take, as it seems.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// Counted from the first that ever was held.
    number: u64,
    /// How many connections in a row ended over it.
    times: u32,
    reason: Refusal,
}

/// How a sink shows that it does not take a message: MQTT 3.1.1 has no answer that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It closes the connection (section 4.8).
    Closed,
    /// It never acknowledges the message.
    Silent,
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

impl ForwardQueue {
    /// Holds up to `max_bytes`, but always one message, with up to `window` in flight.
    pub(crate) fn new(window: u16, max_bytes: usize) -> Self {
        Self {
            held: VecDeque::new(),
            before: 0,
            next: 0,
            lost_from: 0,
            ids: HashMap::new(),
            in_flight: 0,
            window: window.into(),
            progress: false,
            probing: false,
            suspect: None,
            since_smaller: 0,
            max_window: window.into(),
            bytes: 0,
            max_bytes,
            last_id: 0,
            intake: Intake::Open,
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
        if self.intake != Intake::Open
            || (!self.held.is_empty() && self.bytes + size > self.max_bytes)
        {
            // QoS 0 would not come again.
            if reliable && self.intake == Intake::Open {
                self.intake = Intake::Refusing;
            }
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
            came_with: came.qos,
            origin: if reliable {
                Origin::Waits
            } else {
                Origin::Forgotten
            },
            acknowledged: false,
        });
        Taken::Held
    }

    /// Takes no more until the source's connection is a new one, of what the source would send again.
    pub(crate) fn refuse(&mut self) {
        self.intake = Intake::Closed;
    }

    /// A message that the source sends again and that is still here is not forwarded twice. By MQTT 3.1.1,
    /// section 4.4, it comes with the identifier that it had, and they come in order.
    fn is_known(&mut self, came: &Publish, topic: &str) -> bool {
        let from = self.lost_from;
        let found = self.held.iter().skip(from).position(|held| {
            held.origin == Origin::Lost
                && held.came_as == came.pkid
                && held.publish.topic == topic
                && held.publish.payload == came.payload
        });
        let Some(at) = found.map(|at| from + at) else {
            return false;
        };
        self.forget_until(at);
        self.held[at].origin = Origin::Waits;
        self.lost_from = at + 1;
        true
    }

    /// The source does not send again what it has not sent again yet.
    pub(crate) fn forget(&mut self) {
        self.forget_until(self.held.len());
    }

    fn forget_until(&mut self, end: usize) {
        for held in self.held.range_mut(self.lost_from.min(end)..end) {
            if held.origin == Origin::Lost {
                held.origin = Origin::Forgotten;
            }
        }
        self.lost_from = end;
    }

    /// What is to be sent to the sink next, if it may be.
    pub(crate) fn next_to_send(&mut self) -> Option<&Publish> {
        while self.held.get(self.next)?.acknowledged {
            self.next += 1;
        }
        if self.in_flight >= self.limit() {
            return None;
        }
        let at = self.next;
        if self.held[at].publish.qos == QoS::AtMostOnce {
            self.held[at].acknowledged = true;
            self.delivered += 1;
        } else {
            if self.held[at].publish.pkid == 0 {
                let id = self.free_id();
                self.held[at].publish.pkid = id;
                self.ids.insert(id, self.before + at as u64);
            }
            self.in_flight += 1;
        }
        self.next += 1;
        Some(&self.held[at].publish)
    }

    /// Whether there is something to be sent that may be sent now.
    pub(crate) fn has_more(&self) -> bool {
        let mut rest = self.held.iter().skip(self.next);
        self.in_flight < self.limit() && rest.any(|held| !held.acknowledged)
    }

    /// The sink has acknowledged. Returns false for an identifier that is not in flight.
    pub(crate) fn acknowledged(&mut self, id: u16) -> bool {
        let Some(number) = self.ids.get(&id).copied() else {
            return false;
        };
        // It was not acknowledged, so it is held.
        let at = self.index(number);
        if at >= self.next {
            return false;
        }
        self.ids.remove(&id);
        self.held[at].acknowledged = true;
        self.in_flight -= 1;
        self.delivered += 1;
        self.progress = true;
        self.probing = false;
        if self.suspect.is_some_and(|suspect| suspect.number == number) {
            self.suspect = None;
        }
        self.grow();
        true
    }

    /// A window that was made smaller becomes larger again while all goes well.
    fn grow(&mut self) {
        if self.window < self.max_window {
            self.since_smaller += 1;
            if self.since_smaller >= UNTIL_LARGER {
                self.since_smaller = 0;
                self.window = (self.window * 2).min(self.max_window);
            }
        }
    }

    fn limit(&self) -> usize {
        if self.probing { 1 } else { self.window }
    }

    /// What is to be acknowledged to the source next: in the order in which it came, as MQTT 3.1.1,
    /// section 4.6, demands.
    pub(crate) fn next_to_acknowledge(&mut self) -> Option<(u16, QoS)> {
        loop {
            let first = self.held.front()?;
            // One that is delivered stays until it is known whether the source sends it again.
            if !first.acknowledged || first.origin == Origin::Lost {
                return None;
            }
            let held = self.held.pop_front()?;
            self.before += 1;
            self.lost_from = self.lost_from.saturating_sub(1);
            self.bytes -= OVERHEAD + held.publish.topic.len() + held.publish.payload.len();
            self.next = self.next.saturating_sub(1);
            if held.origin == Origin::Waits {
                return Some((held.came_as, held.came_with));
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
        self.lost_from = 0;
        self.intake = Intake::Open;
    }

    /// The sink's connection is gone: over the next one, all that it has not acknowledged is sent again, in
    /// order, with the same identifiers. `closed` is whether it was the sink that ended it.
    pub(crate) fn sink_lost(&mut self, closed: bool) {
        if self.in_flight > 0 && !self.progress {
            self.probing = true;
            if let (true, 1, Some((number, _))) = (closed, self.in_flight, self.oldest()) {
                self.suspect(number, Refusal::Closed);
            }
        }
        self.progress = false;
        for held in &mut self.held {
            held.publish.dup |= held.publish.pkid != 0;
        }
        self.next = 0;
        self.in_flight = 0;
    }

    /// The oldest message that was sent over the sink's present connection and is not acknowledged, and its number.
    pub(crate) fn oldest(&self) -> Option<(u64, &Publish)> {
        let mut sent = self.held.iter().enumerate().take(self.next);
        let (at, held) = sent.find(|(_, held)| !held.acknowledged)?;
        Some((self.before + at as u64, &held.publish))
    }

    /// The sink has left its oldest message without an acknowledgement for too long; its connection is about to be
    /// given up. A sink that takes fewer at a time than it is sent, and drops the rest, gets half as many.
    pub(crate) fn overdue(&mut self) {
        if let Some((number, _)) = self.oldest() {
            self.suspect(number, Refusal::Silent);
            self.window = (self.window / 2).max(1);
            self.since_smaller = 0;
        }
    }

    fn suspect(&mut self, number: u64, reason: Refusal) {
        let before = self.suspect.filter(|suspect| suspect.number == number);
        self.suspect = Some(Suspect {
            number,
            times: before.map_or(0, |suspect| suspect.times) + 1,
            reason,
        });
    }

    /// The message that the sink does not take, how often in a row it did not, and how that showed.
    pub(crate) fn refused(&self) -> Option<(&Publish, u32, Refusal)> {
        let suspect = self.suspect?;
        let held = self.held.get(self.index(suspect.number))?;
        Some((&held.publish, suspect.times, suspect.reason))
    }

    /// Gives up the message that [`ForwardQueue::refused`] names. The source is told that it was delivered.
    pub(crate) fn drop_refused(&mut self) {
        let Some(suspect) = self.suspect.take() else {
            return;
        };
        let at = self.index(suspect.number);
        if let Some(held) = self.held.get_mut(at) {
            held.acknowledged = true;
            self.ids.remove(&held.publish.pkid);
        }
    }

    /// The index of a message that is still held. There are not as many as could be too many for it.
    fn index(&self, number: u64) -> usize {
        usize::try_from(number - self.before).unwrap_or(usize::MAX)
    }

    /// Whether the source should be connected to anew, to send again what was refused.
    pub(crate) fn wants_refused(&self) -> bool {
        self.intake == Intake::Refusing && self.bytes <= self.max_bytes / 2
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
            if !self.ids.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// Highest packet identifier of a forwarded message; those above are for the session's own packets.
pub(crate) const MAX_ID: u16 = 0xfff0;
/// How many acknowledgements it takes for a window that was made smaller to be made larger.
const UNTIL_LARGER: u32 = 10_000;
/// What a message costs beside its bytes.
const OVERHEAD: usize = 160;

#[cfg(test)]
mod tests;
