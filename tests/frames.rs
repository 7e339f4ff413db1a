//! What a broken or hostile client can throw at the signer: it gets one Error frame or a closed
//! connection, and the next client is served.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use support::wire::{answer, ask, connect, exchange, read_to_end};
use support::{Hsm, Kind, Signer};
use tedge_p11_client::PrivateKey as _;
use tedge_p11_protocol::{MAX_REQUEST_LEN, Request, Response, Sign};

#[test]
fn byte_by_byte_is_understood_without_an_end_of_file() {
    let signed = Served::start();
    let mut stream = connect(signed.signer.socket());
    for byte in signed.request().encode().iter() {
        stream.write_all(&[*byte]).unwrap();
    }
    // Not shut down: the frame itself says where it ends.
    let response = answer(&read_to_end(&mut stream));
    assert!(matches!(response, Response::Signature(_)), "{response:?}");
}

#[test]
fn a_frame_cut_short_at_any_byte_is_an_error() {
    let served = Served::start();
    let frame = served.request().encode();
    for len in 0..frame.len() {
        let bytes = exchange(served.signer.socket(), &frame[..len]);
        if len == 0 {
            assert_eq!(bytes, b"", "nothing was asked");
        } else {
            is_error(&bytes, "bad request");
        }
    }
    served.signs();
}

#[test]
fn trailing_bytes_are_an_error() {
    let served = Served::start();
    for extra in [1, 1000, 200_000] {
        let mut bytes = served.request().encode().to_vec();
        bytes.resize(bytes.len() + extra, 0);
        is_error(&exchange(served.signer.socket(), &bytes), "bad request");
    }
    served.signs();
}

/// Refused by the length it announces, and by the length it has, whichever comes first.
#[test]
fn oversized_frames_are_an_error() {
    let served = Served::start();
    let announced = [0, 2, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let mut stream = connect(served.signer.socket());
    stream.write_all(&announced).unwrap();
    // Still open for writing: the answer does not wait for the rest.
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let bytes = [&first[..], &read_to_end(&mut stream)].concat();
    is_error(&bytes, "longer than the limit");

    let long = Request::Sign(Sign {
        to_sign: vec![7; MAX_REQUEST_LEN].into(),
        uri: None,
        pin: None,
    });
    let bytes = exchange(served.signer.socket(), &long.encode());
    is_error(&bytes, "longer than the limit");
    // 10 MB, as one tried on thin-edge.io's.
    let mut huge = vec![0, 2, 0x80, 0xad, 0xe2, 0x04];
    huge.resize(10_000_000, b'x');
    is_error(
        &exchange_until_closed(&served, &huge),
        "longer than the limit",
    );
    served.signs();
    assert!(
        served.signer.log().len() < 10_000,
        "what was sent is not logged"
    );
}

#[test]
fn garbage_is_an_error() {
    let served = Served::start();
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0xff; 64],
        &[0],
        &[1, 8],             // another version of the protocol
        &[0, 24],            // a frame that there is not
        &[0, 9],             // a response
        &[0, 6, 1, 1, 0xff], // a URI that is not UTF-8
        &[112, 77],          // an extension that there is not
    ];
    for bytes in garbage {
        is_error(&exchange(served.signer.socket(), bytes), "bad request");
    }
    served.signs();
}

/// A client that connects and says nothing, or stops in the middle, delays no one.
#[test]
fn silent_clients_delay_no_one() {
    let served = Served::start();
    let frame = served.request().encode();
    let silent: Vec<UnixStream> = (0..100)
        .map(|number| {
            let mut stream = connect(served.signer.socket());
            stream.write_all(&frame[..number % 20]).unwrap();
            stream
        })
        .collect();
    served.signs();
    drop(silent);
    served.signs();
}

/// Clients that go away at any moment leave nothing behind.
#[test]
fn clients_that_break_off_leave_nothing_behind() {
    let served = Served::start();
    served.signs();
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", served.signer.pid()))
            .unwrap()
            .count()
    };
    let before = descriptors();
    let frame = served.request().encode();
    for round in 0..200 {
        let mut stream = connect(served.signer.socket());
        stream
            .write_all(&frame[..round % (frame.len() + 1)])
            .unwrap();
    }
    // Every client before is done once a later one is answered, but for those still signing.
    while descriptors() > before {
        served.signs();
    }
}

/// What was signed, PINs included, appears in no log, at no level.
#[test]
fn nothing_secret_is_logged() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start_with(&hsm, &["--log-level", "trace"]);
    let key = signer.key_with_pin(&uri, support::hsm::PIN).unwrap();
    key.sign(key.schemes()[0], b"confidential words").unwrap();
    let wrong = signer.key_with_pin(&uri, "not the PIN").unwrap_err();
    let log = signer.log();
    assert!(log.contains("sign for uid"), "{log}");
    for secret in [support::hsm::PIN, "confidential", "not the PIN"] {
        assert!(!log.contains(secret), "{log}");
        assert!(!wrong.to_string().contains(secret), "{wrong}");
    }
}

struct Served {
    signer: Signer,
    uri: String,
    _hsm: Hsm,
}

impl Served {
    fn start() -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("device", "p256");
        Self {
            signer: Signer::start(&hsm),
            uri,
            _hsm: hsm,
        }
    }

    fn request(&self) -> Request {
        Request::Sign(Sign {
            to_sign: b"message".to_vec().into(),
            uri: Some(self.uri.clone()),
            pin: None,
        })
    }

    /// The next client is served.
    fn signs(&self) {
        let response = ask(self.signer.socket(), &self.request());
        assert!(matches!(response, Response::Signature(_)), "{response:?}");
    }
}

fn is_error(bytes: &[u8], expected: &str) {
    match answer(bytes) {
        Response::Error(error) => assert!(error.contains(expected), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// The signer closes while the rest is still being sent, which can cost the client the end of its
/// reading.
fn exchange_until_closed(served: &Served, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(served.signer.socket());
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    answer
}
