//! A SmartCard-HSM, as a Nitrokey HSM 2 is one, behind pcscd and OpenSC (tests/hsm/sc-hsm): keys are made in
//! it, it signs, it is unplugged and plugged in.

use support::healing::{fails_at_once, heals, sign};
use support::{Hsm, Kind, Signer, openssl, succeed};

#[test]
fn keys_are_made_and_found_among_others() {
    let Some(hsm) = Hsm::start_if_possible(Kind::ScHsm) else {
        return;
    };
    let signer = Signer::start(&hsm);
    for (key_type, scheme) in [
        ("p256", "ecdsa_secp256r1_sha256"),
        ("rsa2048", "rsa_pss_rsae_sha256"),
    ] {
        let mut create = signer.tedge_hsm();
        create.args(["create-key", "--label", key_type, "--type", key_type]);
        let uri = succeed(&mut create).trim_end().to_owned();
        for uri in [uri, format!("pkcs11:object={key_type}")] {
            let schemes = openssl::verify_all_schemes(&signer.key(&uri));
            assert!(schemes.iter().any(|s| s == scheme), "{uri}: {schemes:?}");
        }
    }
    // The emulator's own key, on secp256k1, is listed, and is none that TLS signs with.
    let error = signer
        .key_with_pin("pkcs11:object=ESPICOHSMTR", support::hsm::PIN)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown curve"), "{error}");
}

#[test]
fn a_token_that_is_unplugged_and_plugged_in() {
    let Some(mut hsm) = Hsm::start_if_possible(Kind::ScHsm) else {
        return;
    };
    let uri = succeed(hsm.tedge_hsm().args(["create-key", "--label", "tls"]));
    let signer = Signer::start(&hsm);
    let key = signer.key(uri.trim_end());
    for requests_in_between in [true, false, true] {
        sign(&key).unwrap();
        hsm.order("unplug");
        if requests_in_between {
            fails_at_once(&key);
        }
        hsm.order("plug");
        heals(&key);
    }
    hsm.order("restart");
    heals(&key);
}
