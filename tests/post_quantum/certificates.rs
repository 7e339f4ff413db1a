//! Certificate requests and certificates: openssl 3.5 verifies ours, we verify openssl's.

use std::path::Path;
use std::process::Command;

use support::{Hsm, Kind, Signer, fail, succeed};

use crate::rig::{Device, ML_DSA};

#[test]
fn requests_and_certificates_are_verified_by_openssl() {
    let Some(device) = Device::start() else {
        return;
    };
    for (key_type, _, _, _) in ML_DSA {
        let uri = device.hsm.create_key(key_type, key_type);
        let algorithm = format!("Signature Algorithm: {}", key_type.to_uppercase());

        let request = device.ca.file("request.pem");
        std::fs::write(&request, device.csr("device-1", &uri)).unwrap();
        let mut verify = device.ca.openssl();
        verify.args(["req", "-verify", "-noout", "-text", "-in"]);
        let text = succeed(verify.arg(&request));
        assert!(text.contains(&algorithm), "{text}");
        assert!(text.contains("CN=device-1"), "{text}");

        let own = device.ca.file("own.pem");
        let mut make = device.signer.tedge_hsm();
        make.args([
            "self-signed",
            "--common-name",
            "device-1",
            "--uri",
            &uri,
            "--days",
            "30",
        ]);
        std::fs::write(&own, succeed(&mut make)).unwrap();
        let mut verify = device.ca.openssl();
        verify.args(["verify", "-check_ss_sig", "-x509_strict", "-CAfile"]);
        succeed(verify.arg(&own).arg(&own));
        let mut show = device.ca.openssl();
        let text = succeed(show.args(["x509", "-noout", "-text", "-in"]).arg(&own));
        // RFC 9881, section 3: the same algorithm in both places, without parameters.
        assert_eq!(text.matches(&algorithm).count(), 2, "{text}");

        let mut show = device.signer.tedge_hsm();
        let said = succeed(show.arg("show").arg(&own));
        let name = key_type.to_uppercase();
        assert_eq!(said.matches(&name).count(), 2, "{said}");
    }
}

/// What a server would make of them, and that the key in the token belongs to them, is checked in software.
#[test]
fn certificates_of_classic_and_post_quantum_cas_are_verified() {
    let Some(device) = Device::start() else {
        return;
    };
    let (uri, certificate) = device.enrolled("ml-dsa-65");
    let verify = |certificate: &Path, ca: &Path, uri: &str| {
        let mut verify = device.signer.tedge_hsm();
        verify.arg("verify").arg(certificate).arg("--ca").arg(ca);
        verify.args(["--uri", uri]);
        verify
    };
    let ca = device.ca.certificate();
    let said = succeed(&mut verify(&certificate, &ca, &uri));
    assert!(said.contains("mldsa65: signs for it"), "{said}");
    let other = device.hsm.create_key("other", "ml-dsa-65");
    let error = fail(&mut verify(&certificate, &ca, &other));
    assert!(
        error.contains("public keys differ") || error.contains("belong"),
        "{error}"
    );

    // A CA with ML-DSA-87, and one of the same name whose key is another.
    let make_ca = |file: &str| {
        let mut make = device.ca.openssl();
        make.args([
            "req",
            "-x509",
            "-newkey",
            "ML-DSA-87",
            "-nodes",
            "-subj",
            "/CN=pq-ca",
            "-days",
            "9",
        ]);
        succeed(make.args([
            "-keyout",
            &format!("{file}.key"),
            "-out",
            &format!("{file}.pem"),
        ]));
        device.ca.file(&format!("{file}.pem"))
    };
    let (pq_ca, forged) = (make_ca("pq-ca"), make_ca("forged"));
    let issued = device.ca.file("by-pq-ca.pem");
    let mut issue = device.ca.openssl();
    issue.args([
        "x509",
        "-req",
        "-in",
        "ml-dsa-65.csr",
        "-CA",
        "pq-ca.pem",
        "-CAkey",
        "pq-ca.key",
    ]);
    issue.args(["-days", "2", "-extfile", "client.ext", "-out"]);
    succeed(issue.arg(&issued));
    succeed(&mut verify(&issued, &pq_ca, &uri));
    let error = fail(&mut verify(&issued, &forged, &uri));
    assert!(error.contains("would refuse the certificate"), "{error}");
}

#[test]
fn doctor_tries_the_keys() {
    let Some(device) = Device::start() else {
        return;
    };
    for (key_type, _, _, _) in ML_DSA {
        device.hsm.create_key(key_type, key_type);
    }
    let mut doctor = device.signer.tedge_hsm();
    doctor.args([
        "doctor",
        "--config-dir",
        "/nowhere",
        "--uri",
        "pkcs11:token=device",
    ]);
    let output = doctor.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for (key_type, scheme, _, _) in ML_DSA {
        let key = format!("object={key_type};type=private signs, verified: {scheme} in ");
        assert!(said.contains(&key), "no {key:?} in:\n{said}");
    }
}

/// The PKCS#11 module over the socket does not have ML-DSA: it shows no such key, and the others all the same.
#[test]
fn the_module_over_the_socket_leaves_ml_dsa_out() {
    let Some(hsm) = Hsm::start_if_possible(Kind::Kryoptic) else {
        return;
    };
    hsm.create_key("classic", "p256");
    hsm.create_key("post-quantum", "ml-dsa-87");
    let signer = Signer::start(&hsm);
    let mut list = Command::new("pkcs11-tool");
    list.arg("--module")
        .arg(support::program("libtedge_p11.so"));
    list.env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", signer.socket());
    let said = succeed(list.args(["--list-objects"]));
    assert!(said.contains("classic"), "{said}");
    assert!(!said.contains("post-quantum"), "{said}");
}
