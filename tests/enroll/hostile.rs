//! What a server may answer that is no good.

use crate::rig::{Device, fail};

#[test]
fn nothing_is_installed_that_is_no_good() {
    let device = Device::new();
    for (label, why) in [
        ("other-key", "it is not for the key pkcs11:"),
        ("other-ca", "it was not issued by the CA"),
        ("expired", "it expired on 2021-01-01T00:00:00Z"),
        ("for-servers", "it is not for TLS clients"),
        ("huge", "has more than 262144 bytes"),
        ("endless", "has more than 262144 bytes"),
        ("denied", "(device-1 is \u{fffd}[31mblocked)"),
        ("broken", "HTTP 500"),
        ("moved", "it sends to https://localhost/"),
        ("cut", "the server closed the connection"),
    ] {
        let error = fail(&mut device.est(label));
        assert!(error.contains(why), "{label}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
        assert!(!device.cert().exists(), "{label}");
        std::fs::remove_file(device.beside(".enrolment")).unwrap();
    }
    let error = fail(device.est("silent").args(["--timeout", "1"]));
    assert!(error.contains("no answer in time"), "{error}");
    assert!(!device.cert().exists());
    assert_eq!(device.keys(), 1);
    // A wrong password.
    std::fs::remove_file(device.beside(".enrolment")).unwrap();
    std::fs::write(device.hsm.file("password"), "wr0ng\n").unwrap();
    let error = fail(&mut device.est("est"));
    assert!(
        error.contains("HTTP 401") && !error.contains("wr0ng"),
        "{error}"
    );
}

/// Another user's record is not gone on with, nor one that is damaged.
#[test]
fn a_record_of_somebody_else_is_not_obeyed() {
    use std::os::unix::fs::PermissionsExt as _;
    let device = Device::new();
    fail(&mut device.est("broken"));
    let record = device.beside(".enrolment");
    let mode = record.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::set_permissions(&record, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = fail(&mut device.est("broken"));
    assert!(error.contains("others may write it"), "{error}");
    std::fs::set_permissions(&record, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&record, "{}").unwrap();
    let error = fail(&mut device.est("broken"));
    assert!(
        error.contains("is no record of an enrolment; remove it"),
        "{error}"
    );
}
