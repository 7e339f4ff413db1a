//! Packets of a broker, as the bridge reads them: at once and in pieces it finds the same, and what it shows is
//! short and can be printed.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tedge_hsm_bridge::packet::{Incoming, Reader, connack};

fuzz_target!(|input: &[u8]| {
    let Some((lengths, bytes)) = input.split_at_checked(4) else {
        return;
    };
    let _ = connack(&mut bytes.into());
    let at_once = read([bytes].into_iter());
    let mut rest = bytes;
    let pieces = lengths.iter().cycle().map_while(|length| {
        let (piece, behind) = rest.split_at(rest.len().min(1 + usize::from(*length)));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(at_once, read(pieces), "in pieces");
});

/// All that is found, and how it ended.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut reader = Reader::new(MAX_MESSAGE);
    let mut received = BytesMut::new();
    let mut found = Vec::new();
    for piece in pieces {
        received.extend_from_slice(piece);
        loop {
            match reader.next(&mut received) {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    check(&incoming);
                    found.push(format!("{incoming:?}"));
                }
                Err(violation) => {
                    found.push(violation.to_string());
                    return found;
                }
            }
        }
    }
    found
}

fn check(incoming: &Incoming) {
    match incoming {
        Incoming::Publish(publish) => {
            assert!(publish.topic.len() + publish.payload.len() <= MAX_MESSAGE);
            assert!(!publish.topic.is_empty() && !publish.topic.contains(['\0', '+', '#']));
        }
        Incoming::Unusable(message) => {
            let text = message.description();
            assert!(text.len() < 2048 && !text.contains(char::is_control));
        }
        _ => {}
    }
}

/// Little, so that messages that are too long are found, too.
const MAX_MESSAGE: usize = 64;
