//! What a client makes of ServerHellos of all kinds: the alert that it answers, and whether it would try again without
//! X25519MLKEM768.

#![allow(clippy::unwrap_used)]

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, Error, PeerMisbehaved, RootCertStore};
use tedge_tls::{PostQuantum, got_no_answer};

const X25519MLKEM768: u16 = 0x11ec;
const X25519: u16 = 0x001d;

struct Client {
    connection: ClientConnection,
    hello: Vec<u8>,
}

impl Client {
    fn new(post_quantum: PostQuantum) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(post_quantum.provider()))
            .with_protocol_versions(post_quantum.versions(true))
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = "broker.example".try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        Self { connection, hello }
    }

    /// The groups of its key_share extension (RFC 8446, section 4.2.8), and the length of each share.
    fn shares(&self) -> Vec<(u16, usize)> {
        let number = |at: usize| u16::from_be_bytes([self.hello[at], self.hello[at + 1]]);
        // Record 5, handshake 4, version 2, random 32, session id, suites, compression methods, length of extensions.
        let mut at = 5 + 4 + 2 + 32;
        at += 1 + usize::from(self.hello[at]);
        at += 2 + usize::from(number(at));
        at += 1 + usize::from(self.hello[at]) + 2;
        loop {
            let (kind, len) = (number(at), usize::from(number(at + 2)));
            at += 4;
            if kind != 51 {
                at += len;
                continue;
            }
            let end = at + len;
            let mut shares = Vec::new();
            at += 2;
            while at < end {
                let len = usize::from(number(at + 2));
                shares.push((number(at), len));
                at += 4 + len;
            }
            return shares;
        }
    }

    /// Gives it a ServerHello of TLS 1.3 with one share.
    fn answer(&mut self, group: u16, share: &[u8]) -> Option<io::Error> {
        let session_id = self.hello[5 + 4 + 2 + 32..][..33].to_vec();
        let number = |number: usize, len: usize| number.to_be_bytes()[8 - len..].to_vec();
        let mut extensions = vec![0, 43, 0, 2, 3, 4, 0, 51];
        extensions.extend(number(4 + share.len(), 2));
        extensions.extend(group.to_be_bytes());
        extensions.extend(number(share.len(), 2));
        extensions.extend(share);
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend(session_id);
        // TLS_AES_128_GCM_SHA256, no compression.
        hello.extend([0x13, 0x01, 0]);
        hello.extend(number(extensions.len(), 2));
        hello.extend(extensions);
        let mut record = vec![22, 3, 3];
        record.extend(number(4 + hello.len(), 2));
        record.push(2);
        record.extend(number(hello.len(), 3));
        record.extend(hello);
        self.feed(&record)
    }

    /// Returns what is wrong with it, if anything is.
    fn feed(&mut self, mut record: &[u8]) -> Option<io::Error> {
        while self.connection.read_tls(&mut record).unwrap() > 0 {}
        let error = self.connection.process_new_packets().err()?;
        Some(io::Error::new(ErrorKind::InvalidData, error))
    }

    /// The alert that it sends.
    fn alert(&mut self) -> Option<u8> {
        let mut sent = Vec::new();
        while self.connection.write_tls(&mut sent).unwrap() > 0 {}
        (sent[..5] == [21, 3, 3, 0, 2]).then(|| sent[6])
    }
}

const ILLEGAL_PARAMETER: u8 = 47;

#[test]
fn both_shares_are_in_the_first_client_hello() {
    let client = Client::new(PostQuantum::Prefer);
    assert_eq!(client.shares(), [(X25519MLKEM768, 1216), (X25519, 32)]);
    assert!(client.hello.len() > 1400, "{}", client.hello.len());
    let client = Client::new(PostQuantum::Require);
    assert_eq!(client.shares(), [(X25519MLKEM768, 1216)]);
    let client = Client::new(PostQuantum::Off);
    assert_eq!(client.shares(), [(X25519, 32)]);
    assert!(client.hello.len() < 500, "{}", client.hello.len());
}

#[test]
fn bad_shares_are_illegal_parameters() {
    for (group, share) in [
        (X25519MLKEM768, vec![9; 0]),
        (X25519MLKEM768, vec![9; 32]),
        (X25519MLKEM768, vec![9; 1119]),
        (X25519MLKEM768, vec![9; 1121]),
        (X25519MLKEM768, vec![0; 1120]),
        // X25519 alone, and of low order.
        (X25519, vec![9; 31]),
        (X25519, vec![0; 32]),
        // The client's own length.
        (X25519MLKEM768, vec![9; 1216]),
    ] {
        let mut client = Client::new(PostQuantum::Prefer);
        let error = client.answer(group, &share).unwrap();
        let len = share.len();
        if share.is_empty() {
            // RFC 8446, section 4.2.8: a share has a byte at least.
            assert!(client.alert().is_some());
        } else {
            assert_eq!(tls(&error), &INVALID_SHARE, "{group:#x} {len}");
            assert_eq!(client.alert(), Some(ILLEGAL_PARAMETER), "{group:#x} {len}");
        }
        assert!(!got_no_answer(&client.connection, &error));
    }
}

#[test]
fn a_group_that_was_not_offered_is_refused() {
    for post_quantum in [PostQuantum::Require, PostQuantum::Off] {
        let mut client = Client::new(post_quantum);
        let group = match post_quantum {
            PostQuantum::Require => X25519,
            _ => X25519MLKEM768,
        };
        assert!(client.answer(group, &[9; 1120]).is_some());
        assert_eq!(client.alert(), Some(ILLEGAL_PARAMETER), "{post_quantum}");
    }
}

/// With any ciphertext the exchange comes to its end: what follows can't be decrypted.
#[test]
fn a_ciphertext_for_another_key_shows_only_later() {
    let mut client = Client::new(PostQuantum::Prefer);
    let share = [[0x55; 1088].as_slice(), &[9; 32]].concat();
    assert!(client.answer(X25519MLKEM768, &share).is_none());
    // From here on, whoever closes the connection has seen more than a long ClientHello.
    let closed = ErrorKind::UnexpectedEof.into();
    assert!(!got_no_answer(&client.connection, &closed));
    let error = client
        .feed(&[&[23, 3, 3, 0, 32][..], &[1; 32]].concat())
        .unwrap();
    assert_eq!(tls(&error), &Error::DecryptError);
    assert!(!got_no_answer(&client.connection, &error));
}

#[test]
fn only_silence_is_tried_again() {
    let client = Client::new(PostQuantum::Prefer);
    for (kind, again) in [
        (ErrorKind::UnexpectedEof, true),
        (ErrorKind::ConnectionReset, true),
        (ErrorKind::TimedOut, true),
        (ErrorKind::WouldBlock, true),
        (ErrorKind::BrokenPipe, true),
        (ErrorKind::PermissionDenied, false),
        (ErrorKind::Other, false),
    ] {
        assert_eq!(
            got_no_answer(&client.connection, &kind.into()),
            again,
            "{kind}"
        );
    }
    // decode_error and the like of who has read half of it; handshake_failure, bad_certificate and unknown_ca are answers.
    for (alert, again) in [
        (50, true),
        (47, true),
        (22, true),
        (10, true),
        (40, false),
        (42, false),
        (48, false),
    ] {
        let mut client = Client::new(PostQuantum::Prefer);
        let error = client.feed(&[21, 3, 3, 0, 2, 2, alert]).unwrap();
        assert_eq!(got_no_answer(&client.connection, &error), again, "{alert}");
    }
    // No TLS.
    let mut client = Client::new(PostQuantum::Prefer);
    let error = client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    assert!(!got_no_answer(&client.connection, &error));
    assert_eq!(PostQuantum::Prefer.second(), Some(PostQuantum::Off));
    assert_eq!(PostQuantum::Require.second(), None);
    assert_eq!(PostQuantum::Off.second(), None);
}

#[test]
fn what_is_required_and_not_had_is_named() {
    // handshake_failure, protocol_version, insufficient_security.
    for (alert, said) in [
        (40, "(TLS alert handshake_failure)"),
        (70, "as it has no TLS 1.3"),
        (71, "(TLS alert insufficient_security)"),
    ] {
        let mut client = Client::new(PostQuantum::Require);
        let error = client.feed(&[21, 3, 3, 0, 2, 2, alert]).unwrap();
        let unmet = PostQuantum::Require.unmet(&client.connection, &error);
        let unmet = unmet.unwrap();
        assert!(unmet.what.contains(said), "{}", unmet.what);
        assert!(unmet.what.contains("X25519MLKEM768"), "{}", unmet.what);
        let other = PostQuantum::Prefer.unmet(&client.connection, &error);
        assert_eq!(other, None);
    }
    let client = Client::new(PostQuantum::Require);
    let gone = ErrorKind::ConnectionReset.into();
    let unmet = PostQuantum::Require.unmet(&client.connection, &gone);
    assert!(unmet.unwrap().what.contains("did not answer"));
    // unknown_ca is about something else.
    let mut client = Client::new(PostQuantum::Require);
    let error = client.feed(&[21, 3, 3, 0, 2, 2, 48]).unwrap();
    assert_eq!(PostQuantum::Require.unmet(&client.connection, &error), None);
}

fn tls(error: &io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
