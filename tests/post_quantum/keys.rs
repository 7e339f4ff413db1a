//! Keys: made, listed, read, and what they sign.

use support::hsm::PIN;
use support::{Hsm, Kind, Signer, fail, openssl, succeed};
use tedge_p11_client::PrivateKey as _;

use crate::rig::{Device, ML_DSA};

/// Every kind of key, ML-DSA and what Kryoptic has besides.
#[test]
fn every_kind_of_key_signs_with_every_scheme() {
    let Some(hsm) = Hsm::start_if_possible(Kind::Kryoptic) else {
        return;
    };
    let signer = Signer::start(&hsm);
    let others = [
        ("p256", "ecdsa_secp256r1_sha256"),
        ("p384", "ecdsa_secp384r1_sha384"),
        ("p521", "ecdsa_secp521r1_sha512"),
        ("ed25519", "ed25519"),
        ("rsa2048", "rsa_pss_rsae_sha256"),
    ];
    let ml_dsa = ML_DSA.map(|(key_type, scheme, _, _)| (key_type, scheme));
    for (key_type, first) in others.into_iter().chain(ml_dsa) {
        let mut create = signer.tedge_hsm();
        create.args(["create-key", "--label", key_type, "--type", key_type]);
        let uri = succeed(&mut create);
        let key = signer.key(uri.trim_end());
        let schemes = openssl::verify_all_schemes_by(&hsm.openssl(), &key);
        assert_eq!(schemes[0], first, "{key_type}");
    }
}

#[test]
fn signatures_and_public_keys_are_as_fips_204_has_them() {
    let Some(device) = Device::start() else {
        return;
    };
    for (key_type, scheme, public_len, signature_len) in ML_DSA {
        let uri = device.hsm.create_key(key_type, key_type);
        let key = device.signer.key(&uri);
        assert_eq!(key.public_key().raw().len(), public_len);
        let [only] = key.schemes() else {
            panic!("{key_type}: {:?}", key.schemes())
        };
        assert_eq!(only.to_string(), scheme);
        let message = tls13_message();
        let signatures = [(); 2].map(|()| key.sign(*only, &message).unwrap());
        assert_eq!(signatures[0].len(), signature_len);
        // Hedged.
        assert_ne!(signatures[0], signatures[1], "{key_type}");
        // What is for no purpose is not signed.
        let error = key.sign(*only, b"any bytes").unwrap_err().to_string();
        assert!(error.contains("may not sign this"), "{error}");

        let mut public = device.signer.tedge_hsm();
        let public = succeed(public.args(["public-key", "--uri", &uri]));
        let file = device.ca.file("public.pem");
        std::fs::write(&file, public).unwrap();
        let mut read = device.ca.openssl();
        read.args(["pkey", "-pubin", "-noout", "-text", "-in"]);
        let text = succeed(read.arg(&file));
        assert!(
            text.starts_with(&format!("{} Public-Key:", key_type.to_uppercase())),
            "{text}"
        );

        let mut list = device.signer.tedge_hsm();
        let list = succeed(list.args(["list-keys", "--uri", &uri]));
        assert!(list.contains("ML_DSA"), "{list}");
    }
    // The private part is as private as any.
    let uri = device.hsm.create_key("own", "ml-dsa-65");
    let mut list = device.hsm.tedge_hsm();
    let list = succeed(list.args(["list-keys", "--json", "--uri", &uri]));
    assert!(list.contains("\"ML_DSA\""), "{list}");
}

#[test]
fn a_key_survives_restarts_and_pins_are_guarded() {
    let Some(hsm) = Hsm::start_if_possible(Kind::Kryoptic) else {
        return;
    };
    let uri = hsm.create_key("tls", "ml-dsa-65");
    let mut signer = Signer::start(&hsm);
    let signature = |signer: &Signer| {
        let key = signer.key(&uri);
        openssl::verify_all_schemes_by(&hsm.openssl(), &key);
    };
    signature(&signer);
    // Killed, not asked to end.
    signer.signal(rustix::process::Signal::KILL);
    signer.wait();
    drop(signer);
    let signer = Signer::start_with(&hsm, &[]);
    for _ in 0..5 {
        let error = signer.key_with_pin(&uri, "999999").unwrap_err().to_string();
        assert!(error.contains("PIN"), "{error}");
    }
    // However many tries Kryoptic gives, one was spent.
    let right = signer.key_with_pin(&uri, PIN).unwrap();
    openssl::verify_all_schemes_by(&hsm.openssl(), &right);
    assert_eq!(
        signer.log().matches("CKR_PIN_INCORRECT").count(),
        1,
        "{}",
        signer.log()
    );
}

/// SoftHSM2 has no ML-DSA: one clear line, and nothing is left behind.
#[test]
fn a_token_without_ml_dsa_says_so() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mut create = hsm.tedge_hsm();
    create.args(["create-key", "--label", "tls", "--type", "ml-dsa-65"]);
    let error = fail(&mut create);
    assert!(error.contains("CKR_MECHANISM_INVALID"), "{error}");
    assert!(error.contains("the token cannot do this"), "{error}");
    assert_eq!(succeed(hsm.tedge_hsm().arg("list-keys")), "");
}

fn tls13_message() -> Vec<u8> {
    let context: &[u8] = b"TLS 1.3, client CertificateVerify\0";
    [&[b' '; 64], context, &[7; 32]].concat()
}
