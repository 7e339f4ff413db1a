//! The extension's frames, held against postcard itself, which wrote version 1 of the protocol.

#![allow(clippy::unwrap_used)] // all of it is tests

use serde::Serialize;
use tedge_p11_protocol::{
    Bytes, Decoder, ExtensionCreateKey, ExtensionRequest, ExtensionResponse, ExtensionSign,
    KeyInfo, KeyInfoRequest, KeySpec, Latency, Request, Response, SignatureScheme, Status,
    TokenStatus,
};

const URI: &str = "pkcs11:token=t";

#[test]
fn requests() {
    request(ExtensionRequest::Hello, 0, &[]);
    request(
        ExtensionRequest::KeyInfo(KeyInfoRequest {
            uri: Some(URI.into()),
            pin: None,
        }),
        1,
        &fields((Some(URI), None::<()>)),
    );
    request(
        ExtensionRequest::Sign(ExtensionSign {
            to_sign: Bytes(vec![0xa5; 300]),
            uri: None,
            scheme: SignatureScheme(0x0905),
            pin: None,
        }),
        2,
        &fields((vec![0xa5u8; 300], None::<()>, 0x0905u16, None::<()>)),
    );
    request(
        ExtensionRequest::CreateKey(ExtensionCreateKey {
            uri: None,
            key: KeySpec::Ed25519,
            label: "key".into(),
            id: Some(Bytes(vec![1, 2])),
            pin: None,
        }),
        3,
        &fields((None::<()>, 6u32, "key", Some(vec![1u8, 2]), None::<()>)),
    );
    for (key, number) in [
        (KeySpec::MlDsa44, 7u32),
        (KeySpec::MlDsa65, 8),
        (KeySpec::MlDsa87, 9),
    ] {
        request(
            ExtensionRequest::CreateKey(ExtensionCreateKey {
                uri: None,
                key,
                label: "key".into(),
                id: None,
                pin: None,
            }),
            3,
            &fields((None::<()>, number, "key", None::<()>, None::<()>)),
        );
    }
    request(ExtensionRequest::Status, 4, &[]);
}

#[test]
fn responses() {
    response(ExtensionResponse::Hello, 0, &[]);
    response(
        ExtensionResponse::KeyInfo(KeyInfo {
            uri: URI.into(),
            spki: Bytes(vec![0x30]),
            schemes: vec![SignatureScheme(0x0403), SignatureScheme(0x0804)],
        }),
        1,
        &fields((URI, vec![0x30u8], vec![0x0403u16, 0x0804])),
    );
    response(
        ExtensionResponse::Status(Box::new(Status {
            version: "1".into(),
            uptime: 300,
            module: "m".into(),
            tokens: vec![TokenStatus {
                uri: URI.into(),
                trouble: String::new(),
                pause: 5,
            }],
            requests: 1,
            signatures: 2,
            failed: 3,
            refused: 4,
            throttled: 5,
            connections: 6,
            calls: 7,
            longest_call: u64::MAX,
            latency: Latency {
                p50: 1,
                p90: 2,
                p99: 3,
                max: 4,
            },
            last_error: "e".into(),
            last_error_age: 9,
            reload_error: String::new(),
        })),
        2,
        &fields((
            ("1", 300u64, "m", vec![(URI, "", 5u64)]),
            (1u64, 2u64, 3u64, 4u64, 5u64, 6u64, 7u64, u64::MAX),
            ((1u64, 2u64, 3u64, 4u64), "e", 9u64, ""),
        )),
    );
}

fn fields(value: impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(&value).unwrap()
}

fn request(frame: ExtensionRequest, number: u8, fields: &[u8]) {
    let frame = Request::Extension(frame);
    let bytes = [&[112, number], fields].concat();
    assert_eq!(frame.encode().as_slice(), bytes, "{frame:?}");
    assert_eq!(Decoder::for_request().push(&bytes), Ok(Some(frame)));
}

fn response(frame: ExtensionResponse, number: u8, fields: &[u8]) {
    let frame = Response::Extension(frame);
    let bytes = [&[112, number], fields].concat();
    assert_eq!(frame.encode().as_slice(), bytes, "{frame:?}");
    assert_eq!(Decoder::for_response().push(&bytes), Ok(Some(frame)));
}
