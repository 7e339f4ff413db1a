//! The packets that a broker sends, found in its bytes. Every byte is hostile: whoever may publish chooses topics
//! and payloads, and a broker that is broken or old sends what MQTT 3.1.1 forbids.
//!
//! What can't be forwarded but is a message nevertheless, with a beginning and an end, is told apart from what
//! breaks the protocol: a connection that is ended over a message would be ended over it again and again.

use std::fmt;

use bytes::{Buf as _, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Publish, SubscribeReasonCode};
use tedge_daemon::{CLIENT_TEXT, cut};

/// Finds packets in what has been received.
#[derive(Debug)]
pub struct Reader {
    /// Most bytes of a message that is taken, topic included.
    max_message: usize,
    /// What is left of a message that is too long to be taken.
    skip: usize,
}

/// What a broker sent.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Publish(Publish),
    /// A message that can't be forwarded.
    Unusable(Unusable),
    /// The acknowledgement of a message, with its identifier.
    PubAck(u16),
    /// The last word on a message that was published with QoS 2, with its identifier.
    PubRel(u16),
    /// The answer to a SUBSCRIBE, with its identifier.
    SubAck(u16, Vec<SubscribeReasonCode>),
    /// The answer to an UNSUBSCRIBE, with its identifier.
    UnsubAck(u16),
    /// The answer to a PINGREQ.
    PingResp,
}

/// A message that can't be forwarded, and was taken out of the bytes.
#[derive(Debug)]
pub struct Unusable {
    /// As it can be shown: printable, and cut.
    pub topic: String,
    /// Of topic and payload, in bytes.
    pub len: usize,
    /// To be acknowledged, unless it came with QoS 0.
    pub id: Option<(u16, QoS)>,
    /// Why not.
    pub defect: Defect,
}

impl Unusable {
    /// Which message it is and what is wrong with it, to be put behind "a message that".
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} (topic {}, {} bytes)", self.defect, self.topic, self.len)
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// It is longer than `max_message`.
    TooLong,
    /// Its topic is no UTF-8 (MQTT 3.1.1, section 1.5.3). Old brokers store such.
    NotUtf8,
    /// Its topic has a character U+0000 (section 1.5.3).
    Nul,
    /// Its topic has a wildcard (section 3.3.2.1).
    Wildcard,
    /// Its topic has no character (section 4.7.3).
    Empty,
}

/// How a broker broke the protocol. Nothing that comes behind it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More than four bytes of it (section 2.2.3).
    #[error("the broker sent a packet whose remaining length has no end")]
    RemainingLength,
    /// Types 0 and 15 are reserved (section 2.2.1).
    #[error("the broker sent a packet of the reserved type {0}")]
    ReservedType(u8),
    /// What only clients send, or what the bridge did not ask for.
    #[error("the broker sent an unexpected {0}")]
    Unexpected(&'static str),
    /// Longer than such a packet can be.
    #[error("the broker sent a {0} with {1} bytes")]
    TooLong(&'static str, usize),
    /// Shorter than its own fields.
    #[error("the broker sent a {0} that ends too early")]
    TooShort(&'static str),
    /// Section 3.3.1.2.
    #[error("the broker sent a PUBLISH with QoS 3")]
    QoS3,
    /// Section 2.3.1.
    #[error("the broker sent a {0} with packet identifier 0")]
    IdZero(&'static str),
    /// Section 3.9.3.
    #[error("the broker sent a SUBACK with the unknown return code {0:#04x}")]
    SubAckCode(u8),
    /// Section 3.2.2.3.
    #[error("the broker sent a CONNACK with the unknown return code {0}")]
    ConnAckCode(u8),
    /// More answers than there are packet identifiers (section 2.3.1).
    #[error("the broker goes on sending, and does not read the answers")]
    Unread,
    /// Not one answer for each filter (section 3.8.4).
    #[error("the broker answered {0} filters of a SUBSCRIBE with {1} return codes")]
    SubAckCount(usize, usize),
}

impl Reader {
    /// Takes messages of up to `max_message` bytes, topic included.
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        Self {
            max_message,
            skip: 0,
        }
    }

    /// The next packet, taken out of `received`; none if not all of it has arrived.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
        let skipped = self.skip.min(received.len());
        received.advance(skipped);
        self.skip -= skipped;
        let Some(header) = Header::read(received)? else {
            return Ok(None);
        };
        if header.kind == PUBLISH {
            return self.publish(&header, received);
        }
        let name = header.name()?;
        let wanted = match header.kind {
            PUBACK | PUBREL | UNSUBACK => 2..=2,
            SUBACK => 3..=MAX_SUBACK,
            PINGRESP => 0..=0,
            _ => return Err(Violation::Unexpected(name)),
        };
        if header.remaining < *wanted.start() {
            return Err(Violation::TooShort(name));
        }
        if header.remaining > *wanted.end() {
            return Err(Violation::TooLong(name, header.remaining));
        }
        if received.len() < header.len + header.remaining {
            return Ok(None);
        }
        received.advance(header.len);
        let body = received.split_to(header.remaining);
        if header.kind == PINGRESP {
            return Ok(Some(Incoming::PingResp));
        }
        let id = u16::from_be_bytes([body[0], body[1]]);
        if id == 0 {
            return Err(Violation::IdZero(name));
        }
        Ok(Some(match header.kind {
            PUBACK => Incoming::PubAck(id),
            PUBREL => Incoming::PubRel(id),
            UNSUBACK => Incoming::UnsubAck(id),
            _ => {
                let codes = body[2..].iter().map(|code| suback_code(*code));
                Incoming::SubAck(id, codes.collect::<Result<_, _>>()?)
            }
        }))
    }

    fn publish(
        &mut self,
        header: &Header,
        received: &mut BytesMut,
    ) -> Result<Option<Incoming>, Violation> {
        let Some(qos) = qos(header.flags >> 1 & 3) else {
            return Err(Violation::QoS3);
        };
        let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
        // Of a message that is too long, the beginning says what it was; the rest is skipped as it comes.
        let too_long = header.remaining > self.max_message + TOPIC_LEN + id_len;
        let whole = header.len + header.remaining;
        if !too_long && received.len() < whole {
            return Ok(None);
        }
        let too_short = Err(Violation::TooShort("PUBLISH"));
        if header.remaining < TOPIC_LEN {
            return too_short;
        }
        let Some(len) = received.get(header.len..header.len + TOPIC_LEN) else {
            return Ok(None);
        };
        let topic_len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        let beginning = TOPIC_LEN + topic_len + id_len;
        if beginning > header.remaining {
            return too_short;
        }
        if received.len() < header.len + beginning {
            return Ok(None);
        }
        let id_at = header.len + TOPIC_LEN + topic_len;
        let id = match id_len {
            0 => 0,
            _ => u16::from_be_bytes([received[id_at], received[id_at + 1]]),
        };
        if id_len > 0 && id == 0 {
            return Err(Violation::IdZero("PUBLISH"));
        }
        let bytes = &received[header.len + TOPIC_LEN..id_at];
        let topic = if too_long {
            Err(Defect::TooLong)
        } else {
            topic(bytes)
        };
        match topic {
            Ok(topic) => {
                let topic = topic.to_owned();
                let mut payload = received.split_to(whole).freeze();
                payload.advance(header.len + beginning);
                Ok(Some(Incoming::Publish(Publish {
                    dup: header.flags & 8 != 0,
                    qos,
                    retain: header.flags & 1 != 0,
                    topic,
                    pkid: id,
                    payload,
                })))
            }
            Err(defect) => {
                let topic = printable(bytes);
                let taken = whole.min(received.len());
                received.advance(taken);
                self.skip = whole - taken;
                Ok(Some(Incoming::Unusable(Unusable {
                    topic,
                    len: header.remaining - TOPIC_LEN - id_len,
                    id: (id_len > 0).then_some((id, qos)),
                    defect,
                })))
            }
        }
    }
}

/// The CONNACK at the beginning of a connection, taken out of `received`; none if not all of it has arrived.
pub fn connack(received: &mut BytesMut) -> Result<Option<ConnAck>, Violation> {
    let Some(header) = Header::read(received)? else {
        return Ok(None);
    };
    let name = header.name()?;
    if header.kind != CONNACK {
        return Err(Violation::Unexpected(name));
    }
    match header.remaining {
        2 => {}
        0 | 1 => return Err(Violation::TooShort(name)),
        len => return Err(Violation::TooLong(name, len)),
    }
    if received.len() < header.len + 2 {
        return Ok(None);
    }
    received.advance(header.len);
    let body = received.split_to(2);
    let code = match body[1] {
        0 => ConnectReturnCode::Success,
        1 => ConnectReturnCode::RefusedProtocolVersion,
        2 => ConnectReturnCode::BadClientId,
        3 => ConnectReturnCode::ServiceUnavailable,
        4 => ConnectReturnCode::BadUserNamePassword,
        5 => ConnectReturnCode::NotAuthorized,
        code => return Err(Violation::ConnAckCode(code)),
    };
    Ok(Some(ConnAck::new(code, body[0] & 1 != 0)))
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "is longer than max_message",
            Self::NotUtf8 => "has a topic that is not UTF-8",
            Self::Nul => "has a topic with a NUL character",
            Self::Wildcard => "has a topic with a wildcard",
            Self::Empty => "has an empty topic",
        })
    }
}

/// The fixed header (section 2.2).
struct Header {
    kind: u8,
    flags: u8,
    /// Of the header itself.
    len: usize,
    /// Of what follows.
    remaining: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        let mut remaining = 0;
        for (at, byte) in bytes[1..].iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(Some(Self {
                    kind: first >> 4,
                    flags: first & 0xf,
                    len: at + 2,
                    remaining,
                }));
            }
        }
        if bytes.len() > 4 {
            return Err(Violation::RemainingLength);
        }
        Ok(None)
    }

    /// The name of the packet's type (section 2.2.1).
    fn name(&self) -> Result<&'static str, Violation> {
        match self.kind {
            kind @ (0 | 15) => Err(Violation::ReservedType(kind)),
            kind => Ok(NAMES[usize::from(kind) - 1]),
        }
    }
}

fn topic(bytes: &[u8]) -> Result<&str, Defect> {
    let Ok(topic) = std::str::from_utf8(bytes) else {
        return Err(Defect::NotUtf8);
    };
    match bytes.iter().find(|byte| matches!(byte, 0 | b'+' | b'#')) {
        Some(0) => Err(Defect::Nul),
        Some(_) => Err(Defect::Wildcard),
        None if bytes.is_empty() => Err(Defect::Empty),
        None => Ok(topic),
    }
}

/// A topic for the log: what can't be printed is escaped, what is long is cut.
pub(crate) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => cut(text, CLIENT_TEXT).escape_debug().to_string(),
        Err(_) if bytes.len() <= CLIENT_TEXT => bytes.escape_ascii().to_string(),
        Err(_) => format!(
            "{}… ({} bytes)",
            bytes[..CLIENT_TEXT].escape_ascii(),
            bytes.len()
        ),
    }
}

fn qos(bits: u8) -> Option<QoS> {
    match bits {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

fn suback_code(code: u8) -> Result<SubscribeReasonCode, Violation> {
    match (code, qos(code)) {
        (0x80, _) => Ok(SubscribeReasonCode::Failure),
        (_, Some(qos)) => Ok(SubscribeReasonCode::Success(qos)),
        _ => Err(Violation::SubAckCode(code)),
    }
}

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREL: u8 = 6;
const SUBACK: u8 = 9;
const UNSUBACK: u8 = 11;
const PINGRESP: u8 = 13;
const NAMES: [&str; 14] = [
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
];
/// What says how long the topic is, in bytes.
const TOPIC_LEN: usize = 2;
/// The identifier, and a return code for each filter: there are not that many in a SUBSCRIBE.
const MAX_SUBACK: usize = 2 + 64;

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::v4::PubAck;

    use super::*;

    /// All that is found in `bytes`, which arrive `step` at a time.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<String>, Violation> {
        let mut reader = Reader::new(10);
        let (mut received, mut seen) = (BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            received.extend_from_slice(chunk);
            while let Some(incoming) = reader.next(&mut received)? {
                seen.push(match incoming {
                    Incoming::Unusable(message) => format!(
                        "{} {:?}: {}",
                        message.topic,
                        message.id.map(|(id, _)| id),
                        message.defect
                    ),
                    Incoming::Publish(publish) => {
                        format!("{} {:?}", publish.topic, publish.payload.as_ref())
                    }
                    other => format!("{other:?}"),
                });
            }
        }
        Ok(seen)
    }

    #[test]
    fn messages_that_are_too_long_are_skipped_however_they_arrive() {
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
            assert_eq!(
                read(&bytes, step).unwrap(),
                [
                    "topic Some(515): is longer than max_message",
                    "quick None: is longer than max_message",
                    "PubAck(9)",
                    "topic [7, 7, 7, 7, 7]"
                ],
                "in steps of {step}"
            );
        }
    }

    #[test]
    fn messages_with_impossible_topics_are_taken_out_one_by_one() {
        let mut bytes = Vec::new();
        for topic in [&b"a\xff\xfe"[..], b"a\0b", b"a/#", b"", b"ok"] {
            let len = u8::try_from(topic.len()).unwrap();
            bytes.extend([0x32, len + 5, 0, len]);
            bytes.extend(topic);
            bytes.extend([0, 7, b'x']);
        }
        for step in [1, bytes.len()] {
            assert_eq!(
                read(&bytes, step).unwrap(),
                [
                    "a\\xff\\xfe Some(7): has a topic that is not UTF-8",
                    "a\\0b Some(7): has a topic with a NUL character",
                    "a/# Some(7): has a topic with a wildcard",
                    " Some(7): has an empty topic",
                    "ok [120]"
                ]
            );
        }
    }

    #[test]
    fn topics_are_cut() {
        let long = vec![0xff; 60_000];
        let shown = printable(&long);
        assert!(
            shown.len() < 600 && shown.ends_with("… (60000 bytes)"),
            "{shown}"
        );
        assert!(printable(&vec![b'x'; 60_000]).len() < 200);
    }

    #[test]
    fn what_breaks_the_protocol_has_a_name() {
        let mut lying = vec![0x30, 100, 0, 200];
        lying.resize(300, b'x');
        for (bytes, wanted) in [
            (&[0x90, 0xff, 0x01, 0][..], "a SUBACK with 255 bytes"),
            (&lying, "a PUBLISH that ends too early"),
            (&[0x30, 1, 0], "a PUBLISH that ends too early"),
            (&[0x30, 0], "a PUBLISH that ends too early"),
            (&[0x00, 0], "the reserved type 0"),
            (&[0xf0, 0], "the reserved type 15"),
            (&[0x10, 0], "an unexpected CONNECT"),
            (&[0x20, 2, 0, 0], "an unexpected CONNACK"),
            (&[0xe0, 0], "an unexpected DISCONNECT"),
            (&[0x36, 4, 0, 1, b'a', b'x'], "QoS 3"),
            (
                &[0x32, 5, 0, 1, b'a', 0, 0],
                "PUBLISH with packet identifier 0",
            ),
            (&[0x40, 2, 0, 0], "PUBACK with packet identifier 0"),
            (&[0x40, 1, 0], "a PUBACK that ends too early"),
            (&[0x40, 3, 0, 1, 0], "a PUBACK with 3 bytes"),
            (&[0x90, 3, 0, 1, 3], "unknown return code 0x03"),
            (&[0x30, 0xff, 0xff, 0xff, 0xff, 1], "no end"),
            (&[0x30, 0xff, 0xff, 0xff, 0xff], "no end"),
            (
                &[0xd0, 0xff, 0xff, 0xff, 0x7f],
                "a PINGRESP with 268435455 bytes",
            ),
        ] {
            for step in [1, bytes.len()] {
                let violation = read(bytes, step).unwrap_err().to_string();
                assert!(violation.contains(wanted), "{violation}");
            }
        }
    }

    /// They mean nothing to the bridge.
    #[test]
    fn flags_that_are_reserved_end_nothing() {
        assert_eq!(read(&[0x4f, 2, 0, 9], 1).unwrap(), ["PubAck(9)"]);
        // DUP with QoS 0.
        assert_eq!(read(&[0x38, 3, 0, 1, b'a'], 1).unwrap(), ["a []"]);
    }

    #[test]
    fn a_connack_comes_first() {
        let read = |bytes: &[u8]| connack(&mut bytes.into());
        let good = read(&[0x20, 2, 1, 0]).unwrap().unwrap();
        assert!(good.session_present && good.code == ConnectReturnCode::Success);
        assert!(read(&[0x20, 2, 1]).unwrap().is_none());
        for (bytes, wanted) in [
            (&[0x20, 2, 0, 9][..], "unknown return code 9"),
            (&[0x20, 3, 0, 0, 0], "a CONNACK with 3 bytes"),
            (&[0x30, 2, 0, 0], "unexpected PUBLISH"),
            (b"HTTP/1.1 400 Bad Request", "unexpected PUBACK"),
        ] {
            let violation = read(bytes).unwrap_err().to_string();
            assert!(violation.contains(wanted), "{violation}");
        }
    }
}
