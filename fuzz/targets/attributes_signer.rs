//! A signer with one token, a key of each type and a certificate, which makes and signs nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use tedge_p11_protocol::{
    CertificateEntry, Decoder, ExtensionRequest, ExtensionResponse, Failure, KeyEntry, KeyInfo,
    KeyUse, ObjectContent, ObjectEntry, ObjectFlag, ObjectFlags, Objects, PublicKey, Reason,
    Request, Response, SignatureScheme, TokenEntry, TokenUse,
};

/// Answers one request after the other, for good.
pub fn serve(listener: &UnixListener) {
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut decoder = Decoder::for_request();
        let mut bytes = [0; 4096];
        let request = loop {
            let len = connection.read(&mut bytes).unwrap_or(0);
            match decoder.push(&bytes[..len]) {
                Ok(Some(request)) => break Some(request),
                Ok(None) if len > 0 => {}
                _ => break None,
            }
        };
        if let Some(request) = request {
            let _ = connection.write_all(&answer(request).encode());
        }
    }
}

fn answer(request: Request) -> Response {
    let request = match request {
        Request::Explained(request) => *request,
        other => other,
    };
    match request {
        Request::ListKeys(list) => {
            let uri = list.uri.unwrap_or_default();
            Response::Keys(objects(
                uri.contains("type=cert"),
                uri.contains("type=private"),
            ))
        }
        Request::Extension(request) => Response::Extension(match request {
            ExtensionRequest::Hello => ExtensionResponse::Hello,
            ExtensionRequest::Tokens => ExtensionResponse::Tokens(vec![TokenUse {
                token: TokenEntry {
                    slot: 1,
                    label: "t".into(),
                    model: String::new(),
                    manufacturer: String::new(),
                    serial: "1".into(),
                    initialized: true,
                    uri: "pkcs11:token=t;serial=1".into(),
                },
                needs_pin: false,
                has_user_pin: true,
                digests: true,
            }]),
            ExtensionRequest::KeyUse(request) => {
                let uri = request.uri.unwrap_or_default();
                let (spki, scheme) = key(&uri);
                let info = KeyInfo {
                    uri,
                    spki: spki.into(),
                    schemes: vec![scheme],
                };
                ExtensionResponse::KeyUse(KeyUse {
                    info,
                    digests: true,
                })
            }
            ExtensionRequest::Objects(list) => {
                let uri = list.uri.unwrap_or_default();
                let listed = objects(uri.contains("type=cert"), uri.contains("type=private"));
                let described = listed
                    .into_iter()
                    .map(|entry| described(entry, list.contents));
                ExtensionResponse::Objects(Objects {
                    token: "pkcs11:token=t;serial=1".into(),
                    objects: described.collect(),
                })
            }
            ExtensionRequest::ReadCertificate(uri) => {
                ExtensionResponse::Certificate(CertificateEntry {
                    uri: uri.unwrap_or_default(),
                    der: certificate().into(),
                })
            }
            _ => refusal(),
        }),
        _ => Response::Extension(refusal()),
    }
}

/// `SubjectPublicKeyInfo` of the key that a URI names.
fn key(uri: &str) -> (Vec<u8>, SignatureScheme) {
    let (raw, scheme) = if uri.contains("object=rsa") {
        (rsa(), SignatureScheme::RSA_PKCS1_SHA256)
    } else if uri.contains("object=ed") {
        (vec![7; 32], SignatureScheme::ED25519)
    } else {
        let point = [vec![4], vec![9; 64]].concat();
        (point, SignatureScheme::ECDSA_SECP256R1_SHA256)
    };
    (PublicKey::from_raw(&raw).unwrap().spki().to_vec(), scheme)
}

fn described(entry: KeyEntry, contents: bool) -> ObjectEntry {
    let (der, schemes) = if entry.class == "cert" {
        (certificate(), Vec::new())
    } else {
        let (spki, scheme) = key(&entry.uri);
        (spki, vec![scheme])
    };
    let mut flags = ObjectFlags::default();
    flags.set(ObjectFlag::Sensitive, true);
    flags.set(ObjectFlag::Extractable, false);
    ObjectEntry {
        class: entry.class,
        key_type: entry.key_type,
        label: entry.label,
        id: u8::from_str_radix(&entry.id, 16)
            .map_or(vec![], |id| vec![id])
            .into(),
        subject: vec![].into(),
        flags,
        made_by: Some(u64::MAX),
        content: contents.then(|| ObjectContent {
            der: der.into(),
            schemes,
            digests: true,
        }),
    }
}

fn refusal() -> ExtensionResponse {
    ExtensionResponse::Failure(Failure {
        reason: Reason::Other,
        message: "not here".into(),
    })
}

fn objects(certificates: bool, private_only: bool) -> Vec<KeyEntry> {
    let entry = |class: &str, key_type: &str, label: &str, id: &str| KeyEntry {
        class: class.into(),
        key_type: key_type.into(),
        label: label.into(),
        id: id.into(),
        uri: format!("pkcs11:token=t;serial=1;id=%{id};object={label};type={class}"),
    };
    if certificates {
        return vec![entry("cert", "", "ec", "01")];
    }
    let keys = [
        ("EC", "ec", "01"),
        ("RSA", "rsa", "02"),
        ("EC_EDWARDS", "ed", "03"),
    ];
    let classes: &[&str] = if private_only {
        &["private"]
    } else {
        &["private", "public"]
    };
    let all = classes.iter().flat_map(|class| {
        keys.iter()
            .map(move |(key_type, label, id)| entry(class, key_type, label, id))
    });
    all.collect()
}

/// RFC 8017, appendix A.1.1.
fn rsa() -> Vec<u8> {
    let modulus = [&[2, 0x82, 1, 1, 0][..], &[0xb1; 256]].concat();
    [&[0x30, 0x82, 1, 10][..], &modulus, &[2, 3, 1, 0, 1]].concat()
}

/// The parts of a certificate that have attributes, and no more.
fn certificate() -> Vec<u8> {
    let sequence = |content: &[u8]| [&[0x30, content.len() as u8][..], content].concat();
    let name = sequence(b"\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03abc");
    let empty = sequence(&[]);
    let fields = [
        &[2, 1, 7][..],
        &empty,
        &name,
        &empty,
        &name,
        &sequence(&[5, 0]),
    ]
    .concat();
    sequence(&[sequence(&fields), empty, vec![3, 1, 0]].concat())
}
