//! Every kind of key on every token here signs with every scheme it has, and openssl verifies.

use der::pem;
use support::wire::ask;
use support::{Hsm, Kind, Signer, openssl, parse_uri, succeed};
use tedge_p11_client::{
    KeySpec, PrivateKey, PublicKey, SignatureAlgorithm, SignatureScheme, SocketKey,
};
use tedge_p11_protocol::{
    ChooseScheme, CreateKey, KeyPairParams, KeyParams, Request, Response, Sign, SignWithScheme,
    V1Scheme,
};

const RSA_SCHEMES: [&str; 6] = [
    "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha256",
    "rsa_pkcs1_sha384",
    "rsa_pkcs1_sha512",
];

#[test]
fn softhsm_signs_with_every_scheme() {
    signs_with_every_scheme(
        Kind::SoftHsm,
        &[
            ("p256", &["ecdsa_secp256r1_sha256"]),
            ("p384", &["ecdsa_secp384r1_sha384"]),
            ("p521", &["ecdsa_secp521r1_sha512"]),
            ("rsa2048", &RSA_SCHEMES),
            ("rsa3072", &RSA_SCHEMES),
            ("rsa4096", &RSA_SCHEMES),
            ("ed25519", &["ed25519"]),
        ],
    );
}

/// Without P-521, whose CKA_EC_POINT libtpm2_pkcs11 1.9 cuts short, and Ed25519, which it lacks.
#[test]
fn tpm2_signs_with_every_scheme() {
    signs_with_every_scheme(
        Kind::Tpm2,
        &[
            ("p256", &["ecdsa_secp256r1_sha256"]),
            ("p384", &["ecdsa_secp384r1_sha384"]),
            ("rsa2048", &RSA_SCHEMES),
        ],
    );
}

fn signs_with_every_scheme(kind: Kind, keys: &[(&str, &[&str])]) {
    let hsm = Hsm::start(kind);
    let signer = Signer::start(&hsm);
    for (key_type, schemes) in keys {
        let uri = succeed(signer.tedge_hsm().args([
            "create-key",
            "--uri",
            "pkcs11:token=device",
            "--label",
            key_type,
            "--type",
            key_type,
        ]));
        let key = signer.key(uri.trim_end());
        assert_eq!(openssl::verify_all_schemes(&key), *schemes, "{key_type}");
        assert_eq!(key.uri().to_string(), uri.trim_end());
    }
}

/// A key made outside, as p11tool or pkcs11-tool makes it, straight on the module too.
#[test]
fn keys_made_by_pkcs11_tool_sign() {
    let hsm = Hsm::start(Kind::SoftHsm);
    for (id, key_type) in [
        ("01", "EC:prime256v1"),
        ("02", "EC:secp384r1"),
        ("03", "rsa:2048"),
    ] {
        hsm.pkcs11_tool(&[
            "--keypairgen",
            "--key-type",
            key_type,
            "--id",
            id,
            "--label",
            key_type,
        ]);
    }
    let signer = Signer::start(&hsm);
    for id in ["%01", "%02", "%03"] {
        let uri = format!("pkcs11:token=device;id={id}");
        openssl::verify_all_schemes(&signer.key(&uri));
        let csr = succeed(
            hsm.tedge_hsm()
                .args(["csr", "--common-name", "x", "--uri", &uri]),
        );
        assert!(csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    }
}

#[test]
fn private_keys_are_sensitive_and_never_extractable() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.create_key("ec", "p256");
    hsm.create_key("rsa", "rsa2048");
    let objects = hsm.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    let access = objects.lines().filter(|line| line.contains("Access:"));
    for line in access.clone() {
        for flag in [
            "sensitive",
            "always sensitive",
            "never extractable",
            "local",
        ] {
            assert!(line.contains(flag), "{objects}");
        }
    }
    assert_eq!(access.count(), 2, "{objects}");
    let uses: Vec<_> = objects
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Usage:"))
        .map(str::trim)
        .collect();
    assert_eq!(uses, ["sign", "sign"], "{objects}");
}

/// What thin-edge.io's `tedge` sends during a handshake, and for a CSR.
#[test]
fn thin_edge_frames_are_answered_as_its_client_expects() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let ec = hsm.create_key("ec", "p256");
    let rsa = hsm.create_key("rsa", "rsa2048");
    let signer = Signer::start(&hsm);
    let ask = |request: &Request| ask(signer.socket(), request);
    let choose = |uri: &str, offered: &[SignatureScheme]| {
        let Response::ChosenScheme(chosen) = ask(&Request::ChooseScheme(ChooseScheme {
            offered: offered.to_vec(),
            uri: Some(uri.to_owned()),
            pin: None,
        })) else {
            panic!("no scheme")
        };
        (chosen.scheme, chosen.algorithm)
    };
    assert_eq!(ask(&Request::Ping), Response::Pong);

    // A TLS 1.3 server's usual offer, its favourites first.
    let offer = [0x0403, 0x0503, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401].map(SignatureScheme);
    assert_eq!(choose(&ec, &offer), (Some(offer[0]), 3));
    assert_eq!(choose(&rsa, &offer), (Some(SignatureScheme(0x0804)), 1));
    // For a CSR.
    let offer = [0x0403, 0x0503, 0x0401].map(SignatureScheme);
    assert_eq!(choose(&rsa, &offer), (Some(SignatureScheme(0x0401)), 1));
    // Nothing in common is an answer, not an error.
    assert_eq!(choose(&ec, &[SignatureScheme(0x0401)]), (None, 3));

    for (uri, default) in [(&ec, 0x0403), (&rsa, 0x0804)] {
        // The bare key under a label that promises more: that is what their client puts into a CSR.
        let Response::PublicKeyPem(pem) = ask(&Request::PublicKeyPem(Some(uri.clone()))) else {
            panic!("no public key")
        };
        let (label, raw) = pem::decode_vec(pem.as_bytes()).unwrap();
        assert_eq!(label, "PUBLIC KEY");
        let public_key = PublicKey::from_raw(&raw).unwrap();
        assert_eq!(&public_key, signer.key(uri).public_key());
        openssl::describe_public_key(public_key.spki(), hsm.dir.path());

        // Their TLS signer names no scheme.
        let Response::Signature(signature) = ask(&Request::Sign(Sign {
            to_sign: b"transcript".to_vec().into(),
            uri: Some(uri.clone()),
            pin: None,
        })) else {
            panic!("no signature")
        };
        let scheme = SignatureScheme(default);
        openssl::verify(&public_key, scheme, b"transcript", &signature.0);
    }
    let Response::Signature(signature) = ask(&Request::SignWithScheme(SignWithScheme {
        to_sign: b"CSR".to_vec().into(),
        uri: Some(rsa.clone()),
        scheme: V1Scheme::new(SignatureScheme::RSA_PKCS1_SHA256),
        pin: None,
    })) else {
        panic!("no signature")
    };
    let key = signer.key(&rsa);
    let scheme = SignatureScheme::RSA_PKCS1_SHA256;
    openssl::verify(key.public_key(), scheme, b"CSR", &signature.0);
}

/// The rest of thin-edge.io's frames: tokens and keys, from listing to deleting.
#[test]
fn thin_edge_frames_manage_tokens_and_keys() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start(&hsm);
    let ask = |request: &Request| ask(signer.socket(), request);

    let Response::TokensUris(uris) = ask(&Request::TokensUris) else {
        panic!("no URIs")
    };
    let [token] = uris.as_slice() else {
        panic!("{uris:?}")
    };
    let Response::Tokens(tokens) = ask(&Request::ListTokens) else {
        panic!("no tokens")
    };
    assert_eq!(tokens.iter().filter(|t| t.initialized).count(), 1);
    assert_eq!(tokens.len(), 2, "SoftHSM always has a blank one");

    for (key, algorithm) in [
        (KeyParams::Ec { curve: 384 }, SignatureAlgorithm::ECDSA),
        (KeyParams::Rsa { bits: 2048 }, SignatureAlgorithm::RSA),
    ] {
        let Response::CreatedKey(created) = ask(&Request::CreateKey(CreateKey {
            uri: token.clone(),
            params: KeyPairParams {
                key,
                label: "made for thin-edge".into(),
                id: Some(vec![0xab, 0x00].into()),
            },
            pin: None,
        })) else {
            panic!("no key")
        };
        assert!(created.uri.contains("id=%AB%00"), "{}", created.uri);
        let (_, raw) = pem::decode_vec(created.pem.as_bytes()).unwrap();
        let key = signer.key(&created.uri);
        assert_eq!(key.public_key().raw(), raw);
        assert_eq!(key.schemes()[0].algorithm(), Some(algorithm));

        let Response::Keys(keys) = ask(&Request::ListKeys(tedge_p11_protocol::ListKeys {
            uri: None,
            pin: None,
        })) else {
            panic!("no list")
        };
        let listed: Vec<_> = keys
            .iter()
            .map(|k| (k.class.as_str(), k.id.as_str()))
            .collect();
        assert_eq!(listed, [("private", "ab00"), ("public", "ab00")]);

        let Response::DeletedKeys(deleted) =
            ask(&Request::DeleteKey(tedge_p11_protocol::DeleteKey {
                uri: "pkcs11:token=device;id=%AB%00".into(),
                pin: None,
            }))
        else {
            panic!("not deleted")
        };
        assert_eq!(deleted.len(), 2);
    }

    let Response::InitToken(uri) = ask(&Request::InitToken(tedge_p11_protocol::InitToken {
        label: "second".into(),
        so_pin: tedge_p11_client::Pin::new("11111111".into()).ok(),
        pin: tedge_p11_client::Pin::new("2222".into()).ok(),
        uri: None,
    })) else {
        panic!("not initialised")
    };
    assert!(uri.ends_with("token=second"), "{uri}");

    // The user PIN, changed by the user, then reset by the security officer.
    let pin = |text: &str| tedge_p11_client::Pin::new(text.into()).unwrap();
    for (old, so, new, reset) in [
        (Some("2222"), None, "3333", false),
        (None, Some("11111111"), "4444", true),
    ] {
        let changed = ask(&Request::ChangePin(tedge_p11_protocol::ChangePin {
            uri: Some("pkcs11:token=second".into()),
            new_pin: pin(new),
            old_pin: old.map(pin),
            so_pin: so.map(pin),
            reset,
        }));
        assert_eq!(changed, Response::ChangePin(uri.clone()));
        let created = signer.client().create_key(
            &parse_uri("pkcs11:token=second"),
            Some(&pin(new)),
            KeySpec::EcP256,
            new,
            None,
        );
        let key = signer.key_with_pin(created.unwrap(), new).unwrap();
        openssl::verify_all_schemes(&key);
    }
}

/// The key's own scheme is what a request without one gets; what the key can't do is refused.
#[test]
fn a_scheme_that_the_key_lacks_is_refused_by_name() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("ec", "p256");
    let signer = Signer::start(&hsm);
    let Response::Error(error) = ask(
        signer.socket(),
        &Request::SignWithScheme(SignWithScheme {
            to_sign: vec![0].into(),
            uri: Some(uri),
            scheme: V1Scheme::new(SignatureScheme::RSA_PKCS1_SHA256),
            pin: None,
        }),
    ) else {
        panic!("signed")
    };
    assert!(
        error.contains("cannot sign with rsa_pkcs1_sha256")
            && error.contains("it can with ecdsa_secp256r1_sha256"),
        "{error}"
    );
}

/// Key generation and signing on one socket by 16 clients at once, on both HSMs.
#[test]
fn sixteen_clients_at_once_on_softhsm() {
    sixteen_clients_at_once(Kind::SoftHsm, 25, 4);
}

#[test]
fn sixteen_clients_at_once_on_tpm2() {
    sixteen_clients_at_once(Kind::Tpm2, 6, 1);
}

fn sixteen_clients_at_once(kind: Kind, signatures: usize, keys: usize) {
    let hsm = Hsm::start(kind);
    let ec = hsm.create_key("ec", "p256");
    let rsa = hsm.create_key("rsa", "rsa2048");
    let mut signer = Signer::start(&hsm);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (signer, ec, rsa) = (&signer, &ec, &rsa);
            scope.spawn(move || {
                let uri = parse_uri(if number % 2 == 0 { ec } else { rsa });
                let key = when_made(|| SocketKey::open(signer.client(), &uri, None));
                for round in 0..signatures {
                    let scheme = key.schemes()[0];
                    let message = format!("{number} {round}");
                    let signature = when_made(|| key.sign(scheme, message.as_bytes()));
                    if round == 0 {
                        openssl::verify(key.public_key(), scheme, message.as_bytes(), &signature);
                    }
                }
            });
            if number < keys {
                scope.spawn(move || {
                    let token = parse_uri("pkcs11:token=device");
                    let (spec, label) = (KeySpec::EcP256, format!("new {number}"));
                    let created = when_made(|| {
                        let client = signer.client();
                        client.create_key(&token, None, spec, &label, None)
                    });
                    let uri = parse_uri(created);
                    let key = when_made(|| SocketKey::open(signer.client(), &uri, None));
                    let scheme = key.schemes()[0];
                    let signature = when_made(|| key.sign(scheme, b"new"));
                    openssl::verify(key.public_key(), scheme, b"new", &signature);
                });
            }
        }
    });
    assert!(signer.is_running());
}

/// What `ask` gets, asked again as long as the token makes a key: of the requests that have to wait for that key, the
/// signer lets one wait, and tells the others after a moment to try again.
fn when_made<T>(ask: impl Fn() -> Result<T, tedge_p11_client::Error>) -> T {
    loop {
        match ask() {
            Err(tedge_p11_client::Error::Refused(why)) if why.contains("is making a key") => {}
            result => return result.unwrap(),
        }
    }
}
