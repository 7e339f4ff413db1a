//! Messages that openssl, rustls and rcgen really had signed, and what resembles them. See
//! `messages/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test's helpers too

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rcgen::PublicKeyData as _;
use tedge_p11_protocol::{PublicKey, SignatureScheme as S};
use tedge_p11_purpose::{Flaw, Purpose, Unrecognized, recognize};

const MESSAGES: [(&str, &str, S, Purpose); 18] = {
    use Purpose::{Csr, SelfSigned, Tls12Client, Tls13Client};
    [
        ("p256", "csr", S::ECDSA_SECP256R1_SHA256, Csr),
        ("p256", "csr-extensions", S::ECDSA_SECP256R1_SHA256, Csr),
        ("p384", "csr", S::ECDSA_SECP384R1_SHA384, Csr),
        ("rsa", "csr", S::RSA_PKCS1_SHA256, Csr),
        ("ed25519", "csr", S::ED25519, Csr),
        ("p256", "self-signed", S::ECDSA_SECP256R1_SHA256, SelfSigned),
        (
            "p256",
            "self-signed-v1",
            S::ECDSA_SECP256R1_SHA256,
            SelfSigned,
        ),
        ("p384", "self-signed", S::ECDSA_SECP384R1_SHA384, SelfSigned),
        ("rsa", "self-signed", S::RSA_PKCS1_SHA256, SelfSigned),
        ("rsa", "self-signed-pss", S::RSA_PSS_RSAE_SHA384, SelfSigned),
        ("ed25519", "self-signed", S::ED25519, SelfSigned),
        ("p256", "tls12-0403", S::ECDSA_SECP256R1_SHA256, Tls12Client),
        ("p384", "tls12-0503", S::ECDSA_SECP384R1_SHA384, Tls12Client),
        ("rsa", "tls12-0806", S::RSA_PSS_RSAE_SHA512, Tls12Client),
        ("ed25519", "tls12-0807", S::ED25519, Tls12Client),
        ("p256", "tls13-0403", S::ECDSA_SECP256R1_SHA256, Tls13Client),
        ("rsa", "tls13-0806", S::RSA_PSS_RSAE_SHA512, Tls13Client),
        ("ed25519", "tls13-0807", S::ED25519, Tls13Client),
    ]
};

#[test]
fn each_message_has_its_purpose() {
    for (key, name, scheme, purpose) in MESSAGES {
        let message = message(key, name);
        assert_eq!(
            recognize(&message, scheme, Some(&public_key(key))),
            Ok(purpose),
            "{key} {name}"
        );
    }
}

/// Whoever makes up a transcript of TLS 1.2 makes up the server's list of schemes, too.
#[test]
fn ml_dsa_signs_no_transcript_of_tls_1_2() {
    let message = message("p256", "tls12-0403");
    let with = |scheme: S| {
        let mut message = message.clone();
        let [high, low] = scheme.0.to_be_bytes();
        let places = message.windows(2).enumerate();
        let places: Vec<_> = places
            .filter(|(_, two)| *two == [8, 4])
            .map(|(at, _)| at)
            .collect();
        for at in places {
            message[at..at + 2].copy_from_slice(&[high, low]);
        }
        recognize(&message, scheme, Some(&public_key("p256")))
    };
    // The list has what was put in.
    assert_eq!(with(S(0x0999)), Ok(Purpose::Tls12Client));
    for scheme in [S::ML_DSA_44, S::ML_DSA_65, S::ML_DSA_87] {
        with(scheme).unwrap_err();
    }
}

#[test]
fn a_message_cut_anywhere_or_with_a_byte_more_has_none() {
    for (key, name, scheme, purpose) in MESSAGES {
        let message = message(key, name);
        let public_key = public_key(key);
        for len in 0..message.len() {
            if purpose == Purpose::Tls13Client && len == 64 + 34 + 32 {
                // A SHA-384 begins like some SHA-256: the hash is the one part without a form.
                continue;
            }
            let cut = recognize(&message[..len], scheme, Some(&public_key));
            assert!(cut.is_err(), "{key} {name} cut to {len}");
        }
        for byte in 0..=u8::MAX {
            let longer = [message.as_slice(), &[byte]].concat();
            let longer = recognize(&longer, scheme, Some(&public_key));
            assert!(longer.is_err(), "{key} {name} and {byte:#04x}");
            let earlier = [&[byte], message.as_slice()].concat();
            let earlier = recognize(&earlier, scheme, Some(&public_key));
            assert!(earlier.is_err(), "{byte:#04x} and {key} {name}");
        }
    }
}

#[test]
fn a_message_about_another_key_has_none() {
    let own = PublicKey::from_raw(&[[4; 65]].concat()).unwrap();
    for (key, name, scheme, purpose) in MESSAGES {
        let result = recognize(&message(key, name), scheme, Some(&own));
        let flaw = Flaw::OtherKey;
        match purpose {
            // It is the server that compares the key.
            Purpose::Tls13Client => assert_eq!(result, Ok(purpose)),
            _ => assert_eq!(
                result,
                Err(Unrecognized::Flawed { purpose, flaw }),
                "{key} {name}"
            ),
        }
    }
}

#[test]
fn without_the_public_key_only_tls13_is_told() {
    for (key, name, scheme, purpose) in MESSAGES {
        let result = recognize(&message(key, name), scheme, None);
        let flaw = Flaw::UnknownKey;
        match purpose {
            Purpose::Tls13Client => assert_eq!(result, Ok(purpose)),
            _ => assert_eq!(result, Err(Unrecognized::Flawed { purpose, flaw })),
        }
    }
}

#[test]
fn a_scheme_must_be_the_one_that_the_message_names() {
    let cases = [
        ("p256", "self-signed", S::ECDSA_SECP384R1_SHA384),
        ("rsa", "self-signed", S::RSA_PKCS1_SHA384),
        ("rsa", "self-signed", S::RSA_PSS_RSAE_SHA256),
        ("rsa", "self-signed-pss", S::RSA_PSS_RSAE_SHA256),
        ("rsa", "self-signed-pss", S::RSA_PKCS1_SHA384),
        ("rsa", "tls12-0806", S(0x0201)),
        ("rsa", "tls13-0806", S::RSA_PKCS1_SHA256),
    ];
    for (key, name, scheme) in cases {
        let result = recognize(&message(key, name), scheme, Some(&public_key(key)));
        let flaw = Flaw::Scheme(scheme);
        assert!(
            matches!(result, Err(Unrecognized::Flawed { flaw: f, .. }) if f == flaw),
            "{key} {name} {scheme}: {result:?}"
        );
    }
}

#[test]
fn what_rcgen_makes_is_recognized() {
    let key = Recorder {
        key: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        message: Mutex::default(),
    };
    let public_key = PublicKey::from_raw(key.der_bytes()).unwrap();
    let purpose = || {
        let message = key.message.lock().unwrap();
        recognize(&message, S::ECDSA_SECP256R1_SHA256, Some(&public_key))
    };
    let mut params = rcgen::CertificateParams::new(["device-1".to_owned()]).unwrap();
    params.serialize_request(&key).unwrap();
    assert_eq!(purpose(), Ok(Purpose::Csr));
    params.self_signed(&key).unwrap();
    assert_eq!(purpose(), Ok(Purpose::SelfSigned));
    // As `tedge cert create` has it.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).unwrap();
    assert_eq!(purpose(), Ok(Purpose::SelfSigned));

    let other = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &key);
    params.signed_by(&other, &issuer).unwrap();
    let purpose_of_other = purpose();
    assert!(
        matches!(
            purpose_of_other,
            Err(Unrecognized::Flawed {
                flaw: Flaw::OtherKey,
                ..
            })
        ),
        "{purpose_of_other:?}"
    );
}

#[test]
fn other_things_that_are_signed_have_no_purpose() {
    let issued = message("p256", "issued-by-ca");
    // SignedAttributes: content type and message digest (RFC 5652, section 11).
    let mut attributes =
        b"\x31\x49\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03\x31\x0b\x06\x09\
          \x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\x30\x2d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\
          \x31\x20\x04\x1e"
            .to_vec();
    attributes.extend([7; 30]);
    let mut server = message("p256", "tls13-0403");
    server[64 + 9..64 + 15].copy_from_slice(b"server");
    let ssh = [&[0, 0, 0, 32], &[7; 32][..], &[50, 0, 0, 0, 4], b"root"].concat();
    // ResponseData (RFC 6960, section 4.2.1): responder, time, no responses.
    let ocsp = b"\x30\x2c\xa2\x16\x04\x14aaaaaaaaaaaaaaaaaaaa\x18\x0f20260101000000Z\x30\x01\x00";
    let cases: [(&str, &[u8]); 13] = [
        ("nothing", b""),
        ("text", b"Please pay."),
        ("spaces", &[b' '; 130]),
        ("JWT", b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkZXZpY2UtMSJ9"),
        (
            "SSHSIG",
            b"SSHSIG\0\0\0\x04file\0\0\0\0\0\0\0\x06sha256\0\0\0\x04aaaa",
        ),
        ("SSH authentication", &ssh),
        ("SHA-256", &[0x30; 32]),
        ("signed attributes", &attributes),
        ("OCSP response", ocsp),
        ("empty SEQUENCE", b"\x30\x00"),
        ("indefinite length", b"\x30\x80\x02\x01\x00\x30\x00\x00\x00"),
        ("issued certificate", &issued),
        ("TLS 1.3 server", &server),
    ];
    for (name, message) in cases {
        for scheme in [S::ECDSA_SECP256R1_SHA256, S::RSA_PKCS1_SHA256, S::ED25519] {
            let result = recognize(message, scheme, Some(&public_key("p256")));
            assert!(result.is_err(), "{name}: {result:?}");
        }
    }
}

/// Each is a message of the table above with one thing changed, and nothing else wrong.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn documents_that_are_read_in_two_ways_have_no_purpose() {
    let zeros = |len| tlv(0x04, &vec![0; len]);
    // An Attribute of a type that nobody knows, with `len` bytes in it.
    let attribute = |len| {
        tlv(
            0x30,
            &[&UNKNOWN_TYPE, tlv(0x31, &zeros(len)).as_slice()].concat(),
        )
    };
    let extension = tlv(0x30, &[&UNKNOWN_TYPE, zeros(4).as_slice()].concat());
    let requested_as = |attribute_type: &[u8], extensions: &[u8]| {
        let value = tlv(0x31, &tlv(0x30, extensions));
        tlv(0x30, &[attribute_type, value.as_slice()].concat())
    };
    let requested = |extensions: &[u8]| requested_as(&EXTENSION_REQUEST, extensions);
    let microsofts = |extensions: &[u8]| requested_as(&MICROSOFT_EXTENSION_REQUEST, extensions);
    let other_extension = tlv(0x30, &[&OTHER_TYPE, zeros(4).as_slice()].concat());
    let csr = |attributes: &[u8]| {
        let elements = elements(&message("p256", "csr"));
        tlv(
            0x30,
            &[&elements[..3].concat(), tlv(0xa0, attributes).as_slice()].concat(),
        )
    };
    let certificate = |serial: &[u8], extensions: &[u8]| {
        let mut elements = elements(&message("p256", "self-signed"));
        elements[1] = tlv(0x02, serial);
        elements[7] = tlv(0xa3, &tlv(0x30, extensions));
        tlv(0x30, &elements.concat())
    };
    let too_long = |len| Err(Flaw::TooLong { len, max: 8192 });
    let [one, two] = [attribute(1), attribute(2)];
    // The frame around it has its length in two bytes each.
    let filling = 8192 - csr(&attribute(300)).len() + 300;
    let cases = [
        ("attribute", csr(&one), Ok(Purpose::Csr)),
        (
            "attribute twice",
            csr(&[one, two].concat()),
            Err(Flaw::Twice),
        ),
        (
            "requested extension",
            csr(&requested(&extension)),
            Ok(Purpose::Csr),
        ),
        (
            "requested extension twice",
            csr(&requested(&[extension.as_slice(), &extension].concat())),
            Err(Flaw::Twice),
        ),
        (
            "requested extension by Microsoft's name",
            csr(&microsofts(&extension)),
            Ok(Purpose::Csr),
        ),
        (
            "and twice",
            csr(&microsofts(&[extension.as_slice(), &extension].concat())),
            Err(Flaw::Twice),
        ),
        (
            "extensions requested by both names",
            csr(&[requested(&extension), microsofts(&other_extension)].concat()),
            Err(Flaw::Twice),
        ),
        (
            "request of 8192 bytes",
            csr(&attribute(filling)),
            Ok(Purpose::Csr),
        ),
        (
            "request of 8193 bytes",
            csr(&attribute(filling + 1)),
            too_long(8193),
        ),
        (
            "extension",
            certificate(&[1], &extension),
            Ok(Purpose::SelfSigned),
        ),
        (
            "extension twice",
            certificate(&[1], &[extension.as_slice(), &extension].concat()),
            Err(Flaw::Twice),
        ),
        (
            "serial number 0",
            certificate(&[0], &extension),
            Err(Flaw::SerialNumber),
        ),
        (
            "of 20 bytes",
            certificate(&[1; 20], &extension),
            Ok(Purpose::SelfSigned),
        ),
        (
            "of 21 bytes",
            certificate(&[1; 21], &extension),
            Err(Flaw::SerialNumber),
        ),
    ];
    let long = tlv(0x30, &[&UNKNOWN_TYPE, zeros(9000).as_slice()].concat());
    let long = certificate(&[1], &long);
    let too_long = (
        "certificate that is too long",
        long.clone(),
        too_long(long.len()),
    );
    for (name, message, expected) in cases.into_iter().chain([too_long]) {
        let scheme = S::ECDSA_SECP256R1_SHA256;
        let found = recognize(&message, scheme, Some(&public_key("p256")));
        let found = found.map_err(|error| match error {
            Unrecognized::Flawed { flaw, .. } => flaw,
            Unrecognized::Nothing => panic!("{name}: {error}"),
        });
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_transcript_has_its_messages_in_order() {
    let messages = handshake_messages(&message("p256", "tls12-0403"));
    let types: Vec<u8> = messages.iter().map(|message| message[0]).collect();
    assert_eq!(types, [1, 2, 11, 12, 13, 14, 11, 16]);
    let status = [22, 0, 0, 6, 1, 0, 0, 2, 0x30, 0].to_vec();
    let purpose = |messages: &[Vec<u8>]| {
        recognize(
            &messages.concat(),
            S::ECDSA_SECP256R1_SHA256,
            Some(&public_key("p256")),
        )
    };

    let mut stapled = messages.clone();
    stapled.insert(3, status.clone());
    assert_eq!(purpose(&stapled), Ok(Purpose::Tls12Client));
    let mut without_key_exchange = messages.clone();
    without_key_exchange.remove(3);
    assert_eq!(purpose(&without_key_exchange), Ok(Purpose::Tls12Client));

    for i in (0..messages.len()).filter(|i| *i != 3) {
        let mut without = messages.clone();
        without.remove(i);
        assert!(purpose(&without).is_err(), "without {i}");
    }
    for i in 0..messages.len() {
        let mut twice = messages.clone();
        twice.insert(i, messages[i].clone());
        assert!(purpose(&twice).is_err(), "{i} twice");
    }
    // HelloRequest, NewSessionTicket, CertificateStatus, CertificateVerify
    for extra in [
        [0, 0, 0, 0].to_vec(),
        [4, 0, 0, 1, 7].to_vec(),
        status,
        [15, 0, 0, 1, 7].to_vec(),
    ] {
        for i in (0..=messages.len()).filter(|i| (extra[0], *i) != (22, 3)) {
            let mut with = messages.clone();
            with.insert(i, extra.clone());
            assert!(purpose(&with).is_err(), "{} at {i}", extra[0]);
        }
    }
}

#[test]
fn the_hellos_are_those_of_tls12() {
    let messages = handshake_messages(&message("p256", "tls12-0403"));
    // Message, place in it, what is put there.
    let cases = [
        ("ClientHello of TLS 1.1", 0, 5, 2),
        ("ServerHello of TLS 1.1", 1, 5, 2),
        ("session id of 33 bytes", 0, 38, 33),
        (
            "cipher suite not offered",
            1,
            4 + 34 + 1 + usize::from(messages[1][38]),
            0xee,
        ),
        (
            "compression not offered",
            1,
            4 + 34 + 3 + usize::from(messages[1][38]),
            1,
        ),
        ("ServerHelloDone in part", 5, 3, 1),
        ("no certificate types", 4, 4, 0),
    ];
    for (name, message, place, byte) in cases {
        let mut messages = messages.clone();
        messages[message][place] = byte;
        let result = recognize(
            &messages.concat(),
            S::ECDSA_SECP256R1_SHA256,
            Some(&public_key("p256")),
        );
        assert!(result.is_err(), "{name}: {result:?}");
    }
}

fn handshake_messages(mut transcript: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let [_, high, middle, low, ..] = *transcript {
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        let (message, rest) = transcript.split_at(4 + len);
        messages.push(message.to_vec());
        transcript = rest;
    }
    messages
}

/// The elements of a DER SEQUENCE, with their tags and lengths.
fn elements(der: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = content(der).0;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let behind = content(rest).1;
        elements.push(rest[..rest.len() - behind.len()].to_vec());
        rest = behind;
    }
    elements
}

/// What is in the first element, and what follows it.
fn content(der: &[u8]) -> (&[u8], &[u8]) {
    let (header, len) = match der[1] {
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        short => (2, usize::from(short)),
    };
    der[header..].split_at(len)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, content.to_vec()].concat()
}

/// OBJECT IDENTIFIER 1.2.3.4.
const UNKNOWN_TYPE: [u8; 5] = [6, 3, 42, 3, 4];
/// OBJECT IDENTIFIER 1.2.3.5.
const OTHER_TYPE: [u8; 5] = [6, 3, 42, 3, 5];
/// OBJECT IDENTIFIER 1.2.840.113549.1.9.14.
const EXTENSION_REQUEST: [u8; 11] = *b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";
/// OBJECT IDENTIFIER 1.3.6.1.4.1.311.2.1.14.
const MICROSOFT_EXTENSION_REQUEST: [u8; 12] = *b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e";

fn message(key: &str, name: &str) -> Vec<u8> {
    fs::read(path(&format!("{key}-{name}.bin"))).unwrap()
}

fn public_key(name: &str) -> PublicKey {
    PublicKey::from_spki(&fs::read(path(&format!("{name}.spki"))).unwrap()).unwrap()
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/messages")
        .join(file)
}

/// A key of rcgen that remembers what it signed last.
struct Recorder {
    key: rcgen::KeyPair,
    message: Mutex<Vec<u8>>,
}

impl rcgen::PublicKeyData for Recorder {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen::PublicKeyData::algorithm(&self.key)
    }
}

impl rcgen::SigningKey for Recorder {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        *self.message.lock().unwrap() = message.to_vec();
        self.key.sign(message)
    }
}
