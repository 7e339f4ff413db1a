//! An EC device becomes a post-quantum one, without a visit.

use support::{Debian13, Kind, Mosquitto, succeed};

use crate::device::Device;

/// The broker is on OpenSSL 3.0, which has no ML-DSA: the device keeps what it has, and connects. Then it gets one that has.
#[test]
fn an_ec_key_is_replaced_by_an_ml_dsa_key_once_the_broker_takes_it() {
    if support::Hsm::start_if_possible(Kind::Kryoptic).is_none() {
        return;
    }
    let device = Device::new(Kind::Kryoptic);
    let (keys, certificate) = (device.keys(), device.certificate());
    let mut rotate = device.rotate();
    rotate.args(["--key-type", "ml-dsa-65"]);
    let output = rotate.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("takes none of the signature schemes"),
        "{error}"
    );
    assert_eq!(device.certificate(), certificate);
    assert!(device.keys().contains(&keys[0]));
    device.connects();

    let Some(debian13) = Debian13::find() else {
        return;
    };
    let broker = Mosquitto::start_by(debian13, &device.ca);
    let toml = device.hsm.file("tedge.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    let [old, new] = [device.broker.port, broker.tls_port].map(|port| format!("localhost:{port}"));
    std::fs::write(&toml, text.replace(&old, &new)).unwrap();
    let said = succeed(&mut rotate);
    assert!(
        said.contains(&format!("deleted the old key {}", keys[0])),
        "{said}"
    );
    let log = broker.log();
    assert!(log.contains("u'CN=device-1'"), "{log}");
    assert_ne!(device.keys(), keys);
    assert_eq!(device.keys().len(), 1);
    let mut show = device.ca.openssl();
    show.args(["x509", "-noout", "-text", "-in"]);
    let text = succeed(show.arg(device.cert()));
    assert!(text.contains("Public Key Algorithm: ML-DSA-65"), "{text}");
    let mut verify = device.signer.tedge_hsm();
    verify.arg("verify").arg(device.cert()).arg("--ca");
    let said = succeed(verify.arg(device.ca.certificate()));
    assert!(said.contains("mldsa65: signs for it"), "{said}");
}
