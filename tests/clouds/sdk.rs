//! The vendors' SDKs enrol with our responders: these are not only as right as our reading of the documents.

use std::path::{Path, PathBuf};
use std::process::Command;

use support::aws::{self, Aws};
use support::azure::{self, Dps};
use support::cloud::Cloud;
use support::{repository, succeed};

#[test]
fn aws_s_sdk_is_provisioned() {
    let Some(python) = python() else { return };
    let Some(cloud) = Cloud::start(&[aws::ENDPOINT]) else {
        return;
    };
    let aws = Aws::start(&cloud);
    let (dir, key) = claim(&cloud, "claim");
    let mut sdk = cloud.command(&dir, &python);
    sdk.arg(script("aws-client"))
        .args([aws::ENDPOINT, "server-ca.pem", "claim.pem"])
        .arg(key)
        .args(["device.csr", aws::TEMPLATE, "1234"]);
    cloud.client_ca.make_key("device", &["-out", "device.csr"]);
    let said = succeed(&mut sdk);
    assert!(said.contains("thing thing-1234"), "{said}");
    assert!(said.contains("FallbackUrl"), "{said}");
    assert!(said.contains("-----BEGIN CERTIFICATE-----"), "{said}");
    assert!(
        said.contains("rejected 400 InvalidCertificateOwnershipToken"),
        "{said}"
    );
    assert_eq!(aws.things(), [("thing-1234".to_owned(), 1)]);
}

#[test]
fn azure_s_sdk_is_provisioned() {
    let Some(python) = python() else { return };
    let Some(cloud) = Cloud::start_with(&[azure::ENDPOINT], "TLSv1.2") else {
        return;
    };
    let dps = Dps::start(&cloud);
    let (dir, key) = claim(&cloud, "device-1");
    let run = || {
        let mut sdk = cloud.command(&dir, &python);
        sdk.arg(script("azure-client"))
            .args([azure::ENDPOINT, azure::ID_SCOPE, "device-1"])
            .args(["server-ca.pem", "device-1.pem"])
            .arg(&key);
        succeed(&mut sdk)
    };
    let said = run();
    let wanted = format!("assigned {} device-1", azure::HUB);
    assert!(said.contains(&wanted), "{said}");
    dps.faults([azure::Fault::Status(
        401,
        None,
        azure::error(401_002, "CA certificate not found."),
    )]);
    let said = run();
    assert!(said.contains("status code 401"), "{said}");
}

/// A certificate of the CA of clients, with its key in a file, and the folder of both, with the servers' CA.
fn claim(cloud: &Cloud, name: &str) -> (PathBuf, PathBuf) {
    let ca = &cloud.client_ca;
    ca.make_key(name, &["-out", &format!("{name}.csr")]);
    let csr = std::fs::read_to_string(ca.file(&format!("{name}.csr"))).unwrap();
    ca.issue(name, &csr);
    std::fs::copy(cloud.server_ca.certificate(), ca.file("server-ca.pem")).unwrap();
    (ca.file(""), ca.file(&format!("{name}.key")))
}

fn script(name: &str) -> PathBuf {
    repository()
        .join("tests/clouds")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// Python with the SDKs; none, with a line that says why, where they can't be had.
fn python() -> Option<PathBuf> {
    let mut make = Command::new(repository().join("tests/clouds/sdks"));
    let output = make.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    match output.status.code() {
        Some(0) => Some(Path::new(said.trim_end()).to_owned()),
        Some(77) => {
            print!("{said}");
            None
        }
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
