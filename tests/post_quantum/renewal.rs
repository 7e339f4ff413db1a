//! Renewal by EST of a device whose key is of ML-DSA: it logs in to the server with that key.

use std::path::Path;

use support::est::EstServer;
use support::{Debian13, succeed};

use crate::rig::Device;

/// The server takes nobody without a certificate of the same name, and verifies it by OpenSSL 3.5.
#[test]
fn a_device_with_an_ml_dsa_key_logs_in_to_the_est_server_with_it() {
    let Some(device) = Device::start() else {
        return;
    };
    let Some(debian13) = Debian13::find() else {
        return;
    };
    let server = EstServer::start_by(&debian13, &device.ca);
    let older = EstServer::start(&device.ca);
    for key_type in ["ml-dsa-65", "ml-dsa-87"] {
        let (uri, cert) = device.enrolled(key_type);
        let serial = |cert: &Path| {
            let mut show = device.ca.openssl();
            succeed(show.args(["x509", "-noout", "-serial", "-in"]).arg(cert))
        };
        let before = serial(&cert);
        let renew = |server: &EstServer| {
            let mut renew = device.signer.tedge_hsm();
            renew.args(["renew", "--est", &server.url("est"), "--uri", &uri]);
            renew.arg("--cert").arg(&cert);
            renew.arg("--ca").arg(device.ca.certificate());
            renew
        };
        succeed(renew(&server).arg("--require-post-quantum"));
        assert_ne!(serial(&cert), before);
        let mut show = device.ca.openssl();
        let text = succeed(show.args(["x509", "-noout", "-text", "-in"]).arg(&cert));
        let algorithm = format!("Public Key Algorithm: {}", key_type.to_uppercase());
        assert!(text.contains(&algorithm), "{text}");

        // This machine's TLS may know no ML-DSA, as its list of signature schemes says. Then the certificate stays.
        let before = serial(&cert);
        let output = renew(&older).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("takes none of the signature schemes") {
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("your certificate has another name"), "{said}");
            assert_eq!(serial(&cert), before);
        } else {
            assert!(output.status.success(), "{said}");
        }
    }
}
