//! Every frame against bytes that this crate did not make: the vectors read off thin-edge.io, and
//! the postcard crate for the frames that have none.

#![allow(clippy::pedantic, clippy::unwrap_used, missing_docs)]

use serde::Serialize;
use tedge_p11_protocol::{
    Bytes, CertificateEntry, ChangePin, ChangeSoPin, ChooseScheme, ChosenScheme, CreateKey,
    CreatedKey, Decoder, DeleteKey, ExtensionRequest, ExtensionResponse, Failure, InitToken,
    KeyEntry, KeyInfo, KeyInfoRequest, KeyPairParams, KeyParams, KeyUse, ListKeys, ListObjects,
    ObjectContent, ObjectEntry, ObjectFlag, ObjectFlags, Objects, Pin, Reason, Request, Response,
    Sign, SignDigest, SignWithScheme, SignatureScheme, TokenEntry, TokenUse, V1Scheme,
    WriteCertificate,
};

#[test]
fn requests_of_thin_edge() {
    request(choose(&[], None, None), &[1, 0, 0, 0]);
    request(
        choose(&[SignatureScheme(0x0403)], Some("uri"), Some("pin")),
        &[1, 1, 131, 8, 1, 3, 117, 114, 105, 1, 3, 112, 105, 110],
    );
    request(
        Request::Sign(Sign {
            to_sign: b("data"),
            uri: Some("key".into()),
            pin: pin("data"),
        }),
        &[
            2, 4, 100, 97, 116, 97, 1, 3, 107, 101, 121, 1, 4, 100, 97, 116, 97,
        ],
    );
    request(
        Request::SignWithScheme(SignWithScheme {
            to_sign: b("data"),
            uri: Some("key".into()),
            scheme: V1Scheme::new(SignatureScheme::ECDSA_SECP256R1_SHA256),
            pin: pin("data"),
        }),
        &[
            5, 4, 100, 97, 116, 97, 1, 3, 107, 101, 121, 1, 0, 1, 4, 100, 97, 116, 97,
        ],
    );
    request(
        Request::CreateKey(CreateKey {
            uri: "asdf".into(),
            params: KeyPairParams {
                key: KeyParams::Ec { curve: 256 },
                label: "my key".into(),
                id: Some(Bytes(vec![1, 2, 3])),
            },
            pin: pin("pin"),
        }),
        &[
            10, 4, 97, 115, 100, 102, 1, 128, 2, 6, 109, 121, 32, 107, 101, 121, 1, 3, 1, 2, 3, 1,
            3, 112, 105, 110,
        ],
    );
    request(
        Request::InitToken(InitToken {
            label: "tk".into(),
            so_pin: None,
            pin: None,
            uri: None,
        }),
        &[14, 2, 116, 107, 0, 0, 0],
    );
    request(
        Request::ChangePin(ChangePin {
            uri: Some("u".into()),
            new_pin: pin("np").unwrap(),
            old_pin: pin("op"),
            so_pin: pin("so"),
            reset: true,
        }),
        &[
            18, 1, 1, 117, 2, 110, 112, 1, 2, 111, 112, 1, 2, 115, 111, 1,
        ],
    );
}

#[test]
fn responses_of_thin_edge() {
    response(Response::Error("a".into()), &[0, 1, 97]);
    response(
        Response::ChosenScheme(ChosenScheme {
            scheme: Some(SignatureScheme(0x0804)),
            algorithm: 1,
        }),
        &[3, 1, 132, 16, 1],
    );
    response(
        Response::Signature(b("signed")),
        &[4, 6, 115, 105, 103, 110, 101, 100],
    );
    response(
        Response::Tokens(vec![TokenEntry {
            slot: 1,
            label: "tk".into(),
            model: "m".into(),
            manufacturer: "mf".into(),
            serial: "s".into(),
            initialized: true,
            uri: "u".into(),
        }]),
        &[
            17, 1, 1, 2, 116, 107, 1, 109, 2, 109, 102, 1, 115, 1, 1, 117,
        ],
    );
    response(
        Response::Keys(vec![KeyEntry {
            class: "p".into(),
            key_type: "E".into(),
            label: "k".into(),
            id: "1".into(),
            uri: "u".into(),
        }]),
        &[23, 1, 1, 112, 1, 69, 1, 107, 1, 49, 1, 117],
    );
}

/// The frames without a published vector, as the postcard crate encodes them.
#[test]
fn the_others_as_postcard_has_them() {
    let postcard = |discriminant: u8, fields: Vec<u8>| [vec![discriminant], fields].concat();
    fn fields(value: impl Serialize) -> Vec<u8> {
        postcard::to_stdvec(&value).unwrap()
    }
    let uri = "pkcs11:token=t".to_owned();

    request(
        Request::PublicKeyPem(Some(uri.clone())),
        &postcard(6, fields(Some(&uri))),
    );
    request(
        Request::PublicKeyPem(None),
        &postcard(6, fields(None::<()>)),
    );
    request(Request::Ping, &[8]);
    request(Request::TokensUris, &[12]);
    request(Request::ListTokens, &[16]);
    request(
        Request::DeleteKey(DeleteKey {
            uri: uri.clone(),
            pin: pin("1234"),
        }),
        &postcard(20, fields((&uri, Some("1234")))),
    );
    request(
        Request::ListKeys(ListKeys {
            uri: Some(uri.clone()),
            pin: None,
        }),
        &postcard(22, fields((Some(&uri), None::<()>))),
    );
    request(
        Request::CreateKey(CreateKey {
            uri: uri.clone(),
            params: KeyPairParams {
                key: KeyParams::Rsa { bits: 4096 },
                label: "é".into(),
                id: None,
            },
            pin: None,
        }),
        &postcard(
            10,
            fields((&uri, 0u8, 4096u16, "é", None::<()>, None::<()>)),
        ),
    );
    for (number, scheme) in [0x0403, 0x0503, 0x0603, 0x0804, 0x0401]
        .into_iter()
        .enumerate()
    {
        request(
            Request::SignWithScheme(SignWithScheme {
                to_sign: Bytes(vec![0xa5; 300]),
                uri: None,
                scheme: V1Scheme::new(SignatureScheme(scheme)),
                pin: None,
            }),
            &postcard(
                5,
                fields((
                    vec![0xa5u8; 300],
                    None::<()>,
                    Some(number as u32),
                    None::<()>,
                )),
            ),
        );
    }

    response(
        Response::PublicKeyPem("p".into()),
        &postcard(7, fields("p")),
    );
    response(Response::Pong, &[9]);
    response(
        Response::CreatedKey(CreatedKey {
            pem: "p".into(),
            uri: uri.clone(),
        }),
        &postcard(11, fields(("p", &uri))),
    );
    response(
        Response::TokensUris(vec![uri.clone(), String::new()]),
        &postcard(13, fields(vec![uri.clone(), String::new()])),
    );
    response(
        Response::InitToken(uri.clone()),
        &postcard(15, fields(&uri)),
    );
    response(
        Response::ChangePin(uri.clone()),
        &postcard(19, fields(&uri)),
    );
    response(
        Response::DeletedKeys(vec![uri.clone()]),
        &postcard(21, fields(vec![&uri])),
    );
    response(
        Response::ChosenScheme(ChosenScheme {
            scheme: None,
            algorithm: 3,
        }),
        &[3, 0, 3],
    );
    response(
        Response::Tokens(vec![TokenEntry {
            slot: u64::MAX,
            label: String::new(),
            model: String::new(),
            manufacturer: String::new(),
            serial: String::new(),
            initialized: false,
            uri: String::new(),
        }]),
        &postcard(17, fields(vec![(u64::MAX, "", "", "", "", false, "")])),
    );
}

/// Ours for certificates and for the security officer's PIN.
#[test]
fn frames_of_the_extension() {
    let extension = |frame, inner: &[u8]| whole_request(Request::Extension(frame), 112, inner);
    extension(
        ExtensionRequest::ReadCertificate(Some("key".into())),
        &[5, 1, 3, 107, 101, 121],
    );
    extension(ExtensionRequest::ReadCertificate(None), &[5, 0]);
    extension(
        ExtensionRequest::WriteCertificate(WriteCertificate {
            uri: Some("key".into()),
            certificate: Bytes(vec![0x30, 0]),
            pin: pin("pin"),
        }),
        &[6, 1, 3, 107, 101, 121, 2, 0x30, 0, 1, 3, 112, 105, 110],
    );
    extension(
        ExtensionRequest::ChangeSoPin(ChangeSoPin {
            uri: None,
            old_pin: pin("old").unwrap(),
            new_pin: pin("new").unwrap(),
        }),
        &[7, 0, 3, 111, 108, 100, 3, 110, 101, 119],
    );
    extension(ExtensionRequest::Tokens, &[8]);
    extension(
        ExtensionRequest::KeyUse(KeyInfoRequest {
            uri: Some("key".into()),
            pin: None,
        }),
        &[9, 1, 3, 107, 101, 121, 0],
    );
    extension(
        ExtensionRequest::SignDigest(SignDigest {
            digest: Bytes(vec![7; 3]),
            uri: None,
            scheme: SignatureScheme(0x0403),
            pin: pin("pin"),
        }),
        &[10, 3, 7, 7, 7, 0, 131, 8, 1, 3, 112, 105, 110],
    );
    extension(
        ExtensionRequest::Objects(ListObjects {
            uri: Some("key".into()),
            pin: pin("pin"),
            contents: true,
        }),
        &[11, 1, 3, 107, 101, 121, 1, 3, 112, 105, 110, 1],
    );
    let extension = |frame, inner: &[u8]| whole_response(Response::Extension(frame), 112, inner);
    extension(
        ExtensionResponse::Certificate(CertificateEntry {
            uri: "u".into(),
            der: Bytes(vec![0x30, 0]),
        }),
        &[3, 1, 117, 2, 0x30, 0],
    );
    extension(ExtensionResponse::Done("u".into()), &[4, 1, 117]);
    extension(
        ExtensionResponse::Failure(Failure {
            reason: Reason::PinLocked,
            message: "m".into(),
        }),
        &[5, 4, 1, 109],
    );
    extension(
        ExtensionResponse::Tokens(vec![TokenUse {
            token: TokenEntry {
                slot: 1,
                label: "l".into(),
                model: "m".into(),
                manufacturer: "n".into(),
                serial: "s".into(),
                initialized: true,
                uri: "u".into(),
            },
            needs_pin: true,
            has_user_pin: false,
            digests: true,
        }]),
        &[6, 1, 1, 1, 108, 1, 109, 1, 110, 1, 115, 1, 1, 117, 1, 0, 1],
    );
    extension(
        ExtensionResponse::KeyUse(KeyUse {
            info: KeyInfo {
                uri: "u".into(),
                spki: Bytes(vec![0x30, 0]),
                schemes: vec![SignatureScheme(0x0403)],
            },
            digests: true,
        }),
        &[7, 1, 117, 2, 0x30, 0, 1, 131, 8, 1],
    );
    let mut flags = ObjectFlags::default();
    flags.set(ObjectFlag::Private, true);
    flags.set(ObjectFlag::Extractable, false);
    flags.set(ObjectFlag::Trusted, true);
    assert_eq!(flags.get(ObjectFlag::Extractable), Some(false));
    assert_eq!(flags.get(ObjectFlag::Sign), None);
    extension(
        ExtensionResponse::Objects(Objects {
            token: "u".into(),
            objects: vec![ObjectEntry {
                class: "c".into(),
                key_type: "k".into(),
                label: "l".into(),
                id: Bytes(vec![9]),
                subject: Bytes(vec![]),
                flags,
                made_by: Some(0x1040),
                content: Some(ObjectContent {
                    der: Bytes(vec![0x30, 0]),
                    schemes: vec![SignatureScheme(0x0403)],
                    digests: false,
                }),
            }],
        }),
        &[
            8, 1, 117, 1, 1, 99, 1, 107, 1, 108, 1, 9, 0, // names
            0xc1, 0x80, 8, 0x81, 0x80, 8, // bits 0, 6, 17; bits 0, 17
            1, 0xc0, 0x20, // made by
            1, 2, 0x30, 0, 1, 131, 8, 0,
        ],
    );
}

/// Around a request of version 1, and around one of ours; never around another of its kind, which could go on.
#[test]
fn explained_requests() {
    let explained = |request| Request::Explained(Box::new(request));
    whole_request(explained(Request::Ping), 113, &[0, 8]);
    let hello = Request::Extension(ExtensionRequest::Hello);
    whole_request(explained(hello), 113, &[112, 0]);
    let error = Decoder::for_request().push(&[113, 113, 0, 8]).unwrap_err();
    assert_eq!(
        error.to_string(),
        Decoder::for_request()
            .push(&[114])
            .unwrap_err()
            .to_string()
            .replace("114", "113")
    );
    // A reason of a later version.
    let unknown = Decoder::for_response().push(&[112, 5, 99, 1, 109]).unwrap();
    let failure = Failure {
        reason: Reason::Other,
        message: "m".into(),
    };
    let expected = Response::Extension(ExtensionResponse::Failure(failure));
    assert_eq!(unknown, Some(expected));
}

fn request(frame: Request, inner: &[u8]) {
    whole_request(frame, 0, inner);
}

fn response(frame: Response, inner: &[u8]) {
    whole_response(frame, 0, inner);
}

/// `inner` is the frame without the outer discriminant.
fn whole_request(frame: Request, outer: u8, inner: &[u8]) {
    let bytes = [&[outer], inner].concat();
    assert_eq!(frame.encode().as_slice(), bytes, "encoding {frame:?}");
    assert_eq!(
        Decoder::for_request().push(&bytes),
        Ok(Some(frame.clone())),
        "decoding"
    );
    let mut decoder = Decoder::for_request();
    for (position, byte) in bytes.iter().enumerate() {
        let complete = decoder.push(&[*byte]).unwrap();
        assert_eq!(complete.is_some(), position + 1 == bytes.len(), "{frame:?}");
    }
}

/// `inner` is the frame without the outer discriminant.
fn whole_response(frame: Response, outer: u8, inner: &[u8]) {
    let bytes = [&[outer], inner].concat();
    assert_eq!(frame.encode().as_slice(), bytes, "encoding {frame:?}");
    assert_eq!(
        Decoder::for_response().push(&bytes),
        Ok(Some(frame)),
        "decoding"
    );
}

fn choose(offered: &[SignatureScheme], uri: Option<&str>, user_pin: Option<&str>) -> Request {
    Request::ChooseScheme(ChooseScheme {
        offered: offered.to_vec(),
        uri: uri.map(str::to_owned),
        pin: user_pin.and_then(pin),
    })
}

fn pin(text: &str) -> Option<Pin> {
    Some(Pin::new(text.into()).unwrap())
}

fn b(text: &str) -> Bytes {
    Bytes(text.into())
}
