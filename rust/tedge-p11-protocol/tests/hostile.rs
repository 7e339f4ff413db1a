//! The decoder against input that was made to hurt it.

#![allow(clippy::pedantic, clippy::unwrap_used, missing_docs)]

use tedge_p11_protocol::{Bytes, DecodeError, Decoder, MAX_REQUEST_LEN, Request, Response, Sign};

#[test]
fn a_frame_up_to_the_limit_is_taken_and_no_longer_one() {
    let overhead = sign(20_000).encode().len() - 20_000;
    let longest = sign(MAX_REQUEST_LEN - overhead).encode();
    assert_eq!(longest.len(), MAX_REQUEST_LEN);
    assert!(matches!(
        Decoder::for_request().push(&longest),
        Ok(Some(Request::Sign(_)))
    ));
    let too_long = sign(MAX_REQUEST_LEN - overhead + 1).encode();
    assert_eq!(
        Decoder::for_request().push(&too_long),
        Err(DecodeError::TooLong(MAX_REQUEST_LEN))
    );
}

#[test]
fn an_announced_length_over_the_limit_is_refused_before_it_arrives() {
    for announced in [
        // A message of 2^63 bytes, of 2^64 - 1, and of one byte more than the limit.
        &[0, 2, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1][..],
        &[0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        &[0, 2, 129, 128, 4],
        // So many offered schemes.
        &[0, 1, 129, 128, 4],
    ] {
        assert_eq!(
            Decoder::for_request().push(announced),
            Err(DecodeError::TooLong(MAX_REQUEST_LEN)),
            "{announced:?}"
        );
    }
}

#[test]
fn what_no_sender_of_ours_writes_is_refused() {
    for (bytes, error) in [
        (&[1][..], DecodeError::UnknownVersion(1)),
        (&[0, 24], DecodeError::UnknownFrame(24)),
        // A response, sent by a client.
        (&[0, 9], DecodeError::UnknownFrame(9)),
        (&[112, 99], DecodeError::UnknownFrame(99)),
        (&[0, 8, 0], DecodeError::TrailingBytes(1)),
        (&[0, 6, 2], DecodeError::NotABool(2)),
        (&[0, 6, 1, 1, 0xff], DecodeError::NotUtf8),
        // 0x10000 as a scheme, and a varint that does not end.
        (&[0, 1, 1, 128, 128, 4, 0, 0], DecodeError::NumberOutOfRange),
        (&[128, 128, 128, 128, 128, 0], DecodeError::NumberOutOfRange),
    ] {
        assert_eq!(Decoder::for_request().push(bytes), Err(error), "{bytes:?}");
    }
    assert!(matches!(
        Decoder::for_request().push(&[0, 5, 0, 0, 1, 5, 0]),
        Err(DecodeError::UnknownVariant { value: 5, .. })
    ));
}

#[test]
fn an_empty_pin_counts_as_none() {
    let Ok(Some(Request::Sign(sign))) = Decoder::for_request().push(&[0, 2, 0, 0, 1, 0]) else {
        panic!("not a sign request")
    };
    assert!(sign.pin.is_none());
    // The new PIN of a change must be one.
    assert_eq!(
        Decoder::for_request().push(&[0, 18, 0, 0, 0, 0, 0]),
        Err(DecodeError::EmptyPin)
    );
}

/// Byte by byte, the work must not grow with the square of the frame: 30,000 offered schemes would
/// make it 450 million decoded numbers.
#[test]
fn byte_by_byte_costs_no_more_than_a_few_attempts() {
    let mut bytes = vec![0, 1, 0xa0, 0x9c, 0x01]; // 20,000 schemes
    bytes.extend([0xff, 0xff, 0x03].repeat(20_000));
    bytes.extend([0, 0]);
    let mut decoder = Decoder::for_request();
    let mut complete = None;
    for byte in &bytes {
        assert!(complete.is_none());
        complete = decoder.push(&[*byte]).unwrap();
    }
    assert!(matches!(complete, Some(Request::ChooseScheme(c)) if c.offered.len() == 20_000));
}

/// Mutated and random bytes: any answer will do, a panic will not, and what is taken must come out
/// of the encoder as a frame that means the same.
#[test]
fn mutated_frames_never_panic() {
    let seeds: Vec<Vec<u8>> = [
        &[0u8, 1, 1, 131, 8, 1, 3, 117, 114, 105, 1, 3, 112, 105, 110][..],
        &[
            0, 2, 4, 100, 97, 116, 97, 1, 3, 107, 101, 121, 1, 4, 100, 97, 116, 97,
        ],
        &[
            0, 5, 4, 100, 97, 116, 97, 1, 3, 107, 101, 121, 1, 0, 1, 4, 100, 97, 116, 97,
        ],
        &[
            0, 10, 4, 97, 115, 100, 102, 1, 128, 2, 6, 109, 121, 32, 107, 101, 121, 1, 3, 1, 2, 3,
            0,
        ],
        &[0, 14, 2, 116, 107, 0, 0, 0],
        &[
            0, 17, 1, 1, 2, 116, 107, 1, 109, 2, 109, 102, 1, 115, 1, 1, 117,
        ],
        &[
            0, 18, 1, 1, 117, 2, 110, 112, 1, 2, 111, 112, 1, 2, 115, 111, 1,
        ],
        &[0, 23, 1, 1, 112, 1, 69, 1, 107, 1, 49, 1, 117],
        &[112, 1, 0, 0],
        &[112, 2, 1, 7, 0, 132, 16, 0],
        &[112, 3, 0, 6, 1, 97, 0, 0],
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..200_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random(256) as u8),
            }
        }
        if let Ok(Some(frame)) = Decoder::for_request().push(&bytes) {
            let again = frame.encode();
            assert_eq!(Decoder::for_request().push(&again), Ok(Some(frame)));
        }
        if let Ok(Some(frame)) = Decoder::for_response().push(&bytes) {
            let again = frame.encode();
            assert_eq!(Decoder::for_response().push(&again), Ok(Some(frame)));
        }
    }
}

#[test]
fn debug_shows_neither_message_nor_pin() {
    let frame = Decoder::for_request()
        .push(&[0, 2, 4, 100, 97, 116, 97, 0, 1, 4, 49, 50, 51, 52])
        .unwrap();
    let shown = format!("{frame:?}");
    assert!(!shown.contains("1234") && !shown.contains("100"), "{shown}");
    assert!(!format!("{:?}", Response::Signature(Bytes(vec![77]))).contains("77"));
}

fn sign(len: usize) -> Request {
    Request::Sign(Sign {
        to_sign: Bytes(vec![7; len]),
        uri: None,
        pin: None,
    })
}
