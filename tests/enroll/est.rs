//! With any CA that speaks EST (RFC 7030).

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::{succeed, write_secret};

use crate::rig::{Device, fail};

#[test]
fn from_a_blank_token_to_a_connection() {
    let device = Device::new();
    std::fs::write(
        device.hsm.file("bridge.toml"),
        "# mine\n[local]\nhost = \"127.0.0.1\"\n",
    )
    .unwrap();
    let mut enroll = device.est("est");
    let said = succeed(enroll.args(["--san", "DNS:device-1.example"]));
    assert!(
        said.starts_with("CN=device-1 is enrolled with https://localhost:"),
        "{said}"
    );
    let text = device.bridge();
    let (mine, table) = text.split_at(text.find("\n[cloud.est]\n").unwrap());
    assert_eq!(mine, "# mine\n[local]\nhost = \"127.0.0.1\"\n");
    assert!(
        table.contains("key = \"pkcs11:token=device;object=tls\""),
        "{table}"
    );
    std::fs::write(device.hsm.file("bridge.toml"), table).unwrap();
    device.is_enrolled("ca.pem");
    assert_eq!(device.keys(), 1);
    let mode = device.cert().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    let shown = succeed(
        Command::new("openssl")
            .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
            .arg(device.cert()),
    );
    assert!(shown.contains("DNS:device-1.example"), "{shown}");
    // Once more: nothing is made twice.
    let before = std::fs::read(device.cert()).unwrap();
    let said = succeed(&mut device.est("est"));
    assert!(said.ends_with("nothing to do\n"), "{said}");
    let est = device.est("est");
    let args = est.get_args().map(|arg| match arg.to_str() {
        Some("device-1") => "another".into(),
        _ => arg.to_owned(),
    });
    let mut another = Command::new(est.get_program());
    another
        .args(args)
        .env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
    let output = another.output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(
        said.contains("is for CN=device-1, and stays: to enrol as CN=another"),
        "{said}"
    );
    assert_eq!(std::fs::read(device.cert()).unwrap(), before);
    // It is another device's: the operator decides.
    std::fs::write(device.hsm.file("bridge.toml"), "").unwrap();
    let other = succeed(
        device
            .signer
            .tedge_hsm()
            .args(["create-key", "--label", "other"]),
    );
    let error = fail(device.est("est").args(["--uri", other.trim_end()]));
    assert!(
        error.contains("is there already; if it is not wanted"),
        "{error}"
    );
}

#[test]
fn the_manufacturers_key_opens_the_door() {
    let device = Device::new();
    // In a file.
    device.ca.make_key("factory", &["-out", "factory.csr"]);
    let csr = std::fs::read_to_string(device.ca.file("factory.csr")).unwrap();
    let cert = device.ca.issue("factory", &csr);
    let key = device.ca.file("factory.key");
    let with_file = || {
        let mut enroll = device.est_under(&[], "est");
        enroll.arg("--bootstrap-cert").arg(&cert);
        enroll.arg("--bootstrap-key").arg(&key);
        enroll
    };
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = fail(&mut with_file());
    assert!(error.contains("chmod"), "{error}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    succeed(&mut with_file());
    device.is_enrolled("ca.pem");
    device.blank();
    // Of another certificate.
    write_secret(
        &key,
        std::fs::read(device.ca.file("localhost.key")).unwrap(),
    );
    let error = fail(&mut with_file());
    assert!(
        error.contains("it is not the key of the certificate"),
        "{error}"
    );
    device.blank();
    // In the token, with its certificate beside it.
    let uri = device.hsm.create_key("factory", "p256");
    let mut csr = device.signer.tedge_hsm();
    let csr = succeed(csr.args(["csr", "--common-name", "factory", "--uri", &uri]));
    let cert = device.ca.issue("factory", &csr);
    let mut import = device.signer.tedge_hsm();
    succeed(
        import
            .args(["import-certificate", "--uri", &uri, "--cert"])
            .arg(&cert),
    );
    let mut enroll = device.est_under(&[], "est");
    let said = succeed(enroll.args(["--bootstrap-uri", "pkcs11:object=factory"]));
    assert!(said.contains("is enrolled"), "{said}");
    // The device has a key of its own beside it.
    assert_eq!(device.keys(), 2);
}

#[test]
fn the_ca_is_fetched_and_known_by_its_fingerprint() {
    let device = Device::new();
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let printed = succeed(openssl.arg(device.ca.certificate()));
    let fingerprint = printed.trim_end().split_once('=').unwrap().1;
    let ca = device.hsm.file("fetched.pem");
    let enroll = |fingerprint: &str| {
        let mut enroll = device.est_with_ca("pinned", &ca);
        enroll.args(["--fingerprint", fingerprint]);
        enroll
    };
    let wrong = ["00"; 32].join(":");
    let error = fail(&mut enroll(&wrong));
    assert!(
        error.contains("sends no CA certificate with the fingerprint 00:"),
        "{error}"
    );
    assert!(!ca.exists() && !device.cert().exists());
    // The server sends two CAs: what somebody has put there is not trusted.
    succeed(&mut enroll(fingerprint));
    device.is_enrolled("ca.pem");
    let fetched = std::fs::read_to_string(&ca).unwrap();
    assert_eq!(fetched.matches("BEGIN CERTIFICATE").count(), 1);
    let error = fail(enroll(&wrong).arg("--cert").arg(device.hsm.file("new.pem")));
    assert!(
        error.contains("is there, and has no certificate with the fingerprint"),
        "{error}"
    );
    // Without a fingerprint there is nobody to trust.
    let mut bare = device.est_with_ca("pinned", &device.hsm.file("none.pem"));
    let error = fail(bare.arg("--cert").arg(device.hsm.file("new.pem")));
    assert!(error.contains("none.pem"), "{error}");
}

#[test]
fn what_the_server_wants_of_requests_is_done_or_named() {
    let device = Device::new();
    let output = device.est("attributes").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let warned: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("warns"))
        .collect();
    assert_eq!(warned.len(), 1, "{said}");
    assert!(
        warned[0].contains("challengePassword") && warned[0].contains("1.3.6.1.1.1.1.22"),
        "{said}"
    );
    device.is_enrolled("ca.pem");
    let shown = succeed(
        Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in"])
            .arg(device.cert()),
    );
    assert!(
        shown.contains("NIST CURVE: P-384") && shown.contains("Certificate Policies"),
        "{shown}"
    );
    // An operator's choice goes before the server's wish.
    device.blank();
    let output = device
        .est("attributes")
        .args(["--key-type", "p256"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.contains("a key of type EC P-384"),
        "{said}"
    );
    // What can't be read is no reason to give up.
    device.blank();
    succeed(&mut device.est("garbage-attributes"));
}

#[test]
fn who_is_to_wait_waits_with_the_same_request() {
    let device = Device::new();
    succeed(&mut device.est("later"));
    device.is_enrolled("ca.pem");
    device.blank();
    succeed(&mut device.est("busy"));
    device.blank();
    // Not longer than the operator lets it.
    let output = device.est("waits").args(["--wait", "5"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("asked again in 86400 s") && said.contains("not within the 5 s of --wait"),
        "{said}"
    );
    // Elsewhere it would be another enrolment.
    let error = fail(&mut device.est("est"));
    assert!(
        error.contains("is under way: go on with that one, or remove"),
        "{error}"
    );
    std::fs::remove_file(device.beside(".enrolment")).unwrap();
    succeed(&mut device.est("est"));
    device.is_enrolled("ca.pem");
    // An answer that is lost is asked for again by the next run.
    device.blank();
    let error = fail(&mut device.est("lost"));
    assert!(
        error.contains("there is no certificate yet; the next run goes on"),
        "{error}"
    );
    succeed(&mut device.est("lost"));
    device.is_enrolled("ca.pem");
}

/// 78 is the exit code after which tedge-hsm-enroll.service is not started again; a person gets 1.
#[test]
fn a_unit_does_not_try_a_refusal_again() {
    let device = Device::new();
    let settings = device.hsm.file("enroll.conf");
    let by_unit = |server: &str| {
        let options = [
            format!("--est {} --user installer", device.server.url(server)),
            format!("--password-file {}", device.hsm.file("password").display()),
            format!("--ca {}", device.ca.certificate().display()),
            "--device-id device-1 --no-bridge".to_owned(),
        ];
        let text = format!("CLOUD=est\nOPTIONS={}\n", options.join(" "));
        std::fs::write(&settings, text).unwrap();
        let mut command = device.signer.tedge_hsm();
        command.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
        command.arg("enroll").arg("--settings").arg(&settings);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    write_secret(&device.hsm.file("password"), "wrong\n");
    let (code, said) = by_unit("est");
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("given up: correct what is wrong"), "{said}");
    let unit = support::repository().join("dist/tedge-hsm/tedge-hsm-enroll.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    assert!(unit.contains("\nRestartPreventExitStatus=78\n"), "{unit}");
    // A person is told the same, in the usual way.
    fail(&mut device.est("est"));
    // What may pass is tried again.
    write_secret(&device.hsm.file("password"), "s3cret\n");
    let (code, said) = by_unit("est");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_broker_that_refuses_is_tried_again() {
    let device = Device::new();
    let elsewhere = |port: &str| {
        let mut enroll = device.enroll_under(&[], "est", &device.ca.certificate());
        enroll.args(["--est", &device.server.url("est"), "--user", "installer"]);
        enroll
            .arg("--password-file")
            .arg(device.hsm.file("password"));
        enroll.args(["--broker", &format!("localhost:{port}")]);
        enroll.arg("--broker-ca").arg(device.ca.certificate());
        enroll
    };
    // Nobody has said what the bridge carries.
    let error = fail(&mut elsewhere("1"));
    assert!(
        error.contains("[[cloud.est.out]]") && device.keys() == 0,
        "{error}"
    );
    let rules = "[[cloud.est.out]]\ntopic = \"a/#\"\n";
    std::fs::write(device.hsm.file("bridge.toml"), rules).unwrap();
    let error = fail(&mut elsewhere("1"));
    assert!(
        error.contains("the device has its certificate and cannot connect with it yet"),
        "{error}"
    );
    let before = std::fs::read(device.cert()).unwrap();
    let error = fail(&mut elsewhere("1"));
    assert!(error.contains("cannot connect with it yet"), "{error}");
    assert_eq!(std::fs::read(device.cert()).unwrap(), before);
    let said = succeed(elsewhere("1").arg("--no-try"));
    assert!(said.contains("is enrolled"), "{said}");
    assert!(device.bridge().contains(rules), "{}", device.bridge());
    device.bridge_is_good();
}

#[test]
fn a_user_who_may_not_make_keys_is_told() {
    let first = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\n";
    let device = Device::with_policy(Some(first));
    let error = fail(&mut device.est("est"));
    assert!(error.contains("have root make it first"), "{error}");
    device.hsm.create_key("tls", "p256");
    succeed(&mut device.est("est"));
    device.is_enrolled("ca.pem");
}
