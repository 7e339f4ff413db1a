//! The steps, one by one, and what stops them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};

use support::{Kind, fail, succeed};

use crate::rig::Device;

#[test]
fn a_key_is_replaced_on_softhsm() {
    is_replaced(Kind::SoftHsm);
}

#[test]
fn a_key_is_replaced_on_a_tpm() {
    is_replaced(Kind::Tpm2);
}

fn is_replaced(kind: Kind) {
    let device = Device::new(kind);
    let (old, before) = (device.keys(), device.certificate());
    let said = succeed(&mut device.rotate());
    assert!(said.contains("for the new key pkcs11:"), "{said}");
    assert!(
        said.contains(&format!("deleted the old key {}", old[0])),
        "{said}"
    );
    device.is_finished();
    assert_ne!(device.keys(), old);
    assert_ne!(device.certificate(), before);
    assert!(
        device.keys()[0].contains("object=tls;"),
        "{:?}",
        device.keys()
    );
    // The broker saw the new pair before it was installed and before the old key went.
    let log = device.broker.log();
    assert!(log.contains("New client connected"), "{log}");
    // Again, of another type and label.
    let mut rotate = device.rotate();
    succeed(rotate.args(["--key-type", "p384", "--new-key-label", "tls-2"]));
    device.is_finished();
    assert!(
        device.keys()[0].contains("object=tls-2;"),
        "{:?}",
        device.keys()
    );
}

#[test]
fn the_old_key_is_kept_for_a_while() {
    let device = Device::new(Kind::SoftHsm);
    let mut rotate = device.renew("est");
    rotate.args(["--new-key", "--days", "30"]);
    // Not due.
    assert!(succeed(&mut rotate).ends_with("nothing to do\n"));
    let rotate = || {
        let mut rotate = device.renew("est");
        rotate.args(["--new-key", "--keep-old", "3"]);
        rotate
    };
    let said = succeed(&mut rotate());
    assert!(said.contains("is kept for 3 more days"), "{said}");
    assert_eq!(device.keys().len(), 2);
    assert_eq!(device.step().unwrap(), "keep-old");
    device.connects();
    let certificate = device.certificate();
    succeed(&mut rotate());
    assert_eq!(device.certificate(), certificate);
    // Three days later.
    let record = std::fs::read_to_string(device.beside(".rotation")).unwrap();
    let since = device.record().unwrap()["since"].as_u64().unwrap();
    let set_since = |since: u64| {
        let now = device.record().unwrap()["since"].as_u64().unwrap();
        let record = record.replace(&now.to_string(), &since.to_string());
        std::fs::write(device.beside(".rotation"), record).unwrap();
    };
    // A clock that was ahead starts anew.
    set_since(since + 1_000_000);
    let said = succeed(&mut rotate());
    assert!(said.contains("is kept for 3 more days"), "{said}");
    std::fs::write(device.beside(".rotation"), &record).unwrap();
    set_since(since - 3 * 24 * 60 * 60);
    assert!(succeed(&mut rotate()).contains("deleted the old key"));
    device.is_finished();
    assert_eq!(device.certificate(), certificate);
}

/// A user who owns the certificate's folder takes root's record away, and puts it back when the new key is in use.
#[test]
fn a_record_of_an_earlier_step_deletes_no_key() {
    let device = Device::new(Kind::SoftHsm);
    let mut rotate = device.renew("est");
    rotate.args(["--new-key", "--keep-old", "3"]);
    succeed(&mut rotate);
    let record = std::fs::read_to_string(device.beside(".rotation")).unwrap();
    let (keys, certificate) = (device.keys(), device.certificate());
    assert_eq!(keys.len(), 2);
    let put_back = |step: &str| {
        let record = record.replace("keep-old", step);
        std::fs::write(device.beside(".rotation"), record).unwrap();
    };
    for step in ["make-key", "request", "try"] {
        put_back(step);
        let error = fail(&mut rotate);
        assert!(
            error.contains("does not go with the installed certificate"),
            "{step}: {error}"
        );
        assert_eq!(
            (device.keys(), device.certificate()),
            (keys.clone(), certificate.clone())
        );
        device.connects();
    }
    // Also when the old key is gone.
    put_back("delete-old");
    succeed(&mut rotate);
    device.is_finished();
    let keys = device.keys();
    put_back("make-key");
    let error = fail(&mut rotate);
    assert!(
        error.contains("does not go with the installed certificate"),
        "{error}"
    );
    assert_eq!(device.keys(), keys);
    device.connects();
}

#[test]
fn a_broker_that_refuses_keeps_the_old_pair() {
    let device = Device::new(Kind::SoftHsm);
    let before = device.certificate();
    // It trusts another CA.
    let mut rotate = device.renew("est");
    rotate.args([
        "--new-key",
        "--keep-old",
        "0",
        "--try-connect",
        "localhost:1",
    ]);
    for _ in 0..2 {
        let error = fail(&mut rotate);
        assert!(
            error.contains("the trial connection to localhost port 1"),
            "{error}"
        );
        assert!(
            error.contains("stay in use, and the next run goes on"),
            "{error}"
        );
        assert_eq!(device.step().unwrap(), "try");
        assert_eq!(device.certificate(), before);
        device.connects();
    }
    let error = device.record().unwrap()["error"].clone();
    assert!(
        error.as_str().unwrap().contains("Connection refused"),
        "{error}"
    );
    let mut due = device.renew("est");
    due.args(["--new-key", "--try-connect", "localhost:1", "--days"]);
    // All of the certificate's life is due, and yet it does not end soon.
    let error = fail(due.arg("36000"));
    assert!(!error.contains("it is renewed"), "{error}");
    assert_eq!(device.certificate(), before);
    // A certificate that is about to end is renewed for the old key.
    let before = device.install_one_that_ends();
    let output = due.output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("it is renewed for the key that it has"),
        "{error}"
    );
    assert_ne!(device.certificate(), before);
    assert_eq!(device.step().unwrap(), "try");
    device.connects();
    succeed(&mut device.rotate());
    device.is_finished();
}

#[test]
fn a_plain_renewal_is_tried_too() {
    let device = Device::new(Kind::SoftHsm);
    let before = device.certificate();
    let error = fail(device.renew("est").args(["--try-connect", "localhost:1"]));
    assert!(error.contains("is left as it was"), "{error}");
    assert_eq!(device.certificate(), before);
    succeed(device.renew("est").arg("--try-connect"));
    assert_ne!(device.certificate(), before);
    assert!(!device.beside(".trial").exists());
    let error = fail(
        device
            .renew("est")
            .arg("--try-connect")
            .env("TEDGE_CONFIG_DIR", "/nowhere"),
    );
    assert!(error.contains("no broker is known to try"), "{error}");
}

#[test]
fn a_ca_that_refuses_keeps_the_old_pair() {
    let device = Device::new(Kind::SoftHsm);
    let before = device.certificate();
    for (label, why) in [
        ("denied", "HTTP 403"),
        ("pending", "HTTP 202"),
        ("other-key", "it is not for the key"),
    ] {
        let mut rotate = device.renew(label);
        let error = fail(rotate.args(["--new-key", "--keep-old", "0"]));
        assert!(error.contains(why), "{error}");
        assert!(
            error.contains("there is no certificate for the new key"),
            "{error}"
        );
        assert_eq!(device.step().unwrap(), "request");
        assert_eq!(device.certificate(), before);
        assert_eq!(device.keys().len(), 2);
        device.connects();
    }
    // Who renews without --new-key meanwhile keeps the old key.
    let said = succeed(&mut device.renew("est"));
    assert!(said.contains("device-1 until"), "{said}");
    device.connects();
    succeed(&mut device.rotate());
    device.is_finished();
}

#[test]
fn a_hook_runs_after_the_switch() {
    let device = Device::new(Kind::SoftHsm);
    let hook = device.hsm.file("hook");
    let write = |script: &str| {
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("exit 3");
    let rotate = || {
        let mut rotate = device.rotate();
        rotate.arg("--hook").arg(&hook);
        rotate
    };
    let before = device.certificate();
    let error = fail(&mut rotate());
    assert!(error.contains("the hook failed"), "{error}");
    assert!(error.contains("exit status: 3"), "{error}");
    assert_ne!(device.certificate(), before);
    assert_eq!(device.step().unwrap(), "hook");
    device.connects();
    write(&format!(
        "cp \"$TEDGE_HSM_CERT\" {}",
        device.hsm.file("seen").display()
    ));
    succeed(&mut rotate());
    let seen = std::fs::read_to_string(device.hsm.file("seen")).unwrap();
    assert_eq!(seen, device.certificate());
    device.is_finished();
}

/// What would keep the new key from being found.
#[test]
fn a_configuration_that_names_the_old_key_is_refused_at_first() {
    let device = Device::new(Kind::SoftHsm);
    let toml = std::fs::read_to_string(device.hsm.file("tedge.toml")).unwrap();
    let with = |line: &str| {
        std::fs::write(
            device.hsm.file("tedge.toml"),
            format!("[device]\n{line}\n{toml}"),
        )
        .unwrap();
    };
    let keys = device.keys();
    with(&format!("key_uri = \"{}\"", keys[0]));
    let error = fail(&mut device.rotate());
    assert!(error.contains("device.key_uri is pkcs11:"), "{error}");
    assert!(error.contains("take id= out of it first"), "{error}");
    let error = fail(device.rotate().args(["--uri", &keys[0]]));
    assert!(error.contains("take id="), "{error}");
    with("key_uri = \"pkcs11:object=tls\"");
    let error = fail(device.rotate().args(["--new-key-label", "other"]));
    assert!(error.contains("take object= out of it first"), "{error}");
    assert_eq!(device.keys(), keys);
    assert!(device.record().is_none());
    succeed(&mut device.rotate());
    device.is_finished();
}

/// A signer that looks for the certificate elsewhere can't tell the keys apart.
#[test]
fn a_signer_that_would_not_find_the_key_has_the_new_one_deleted() {
    let device = Device::new(Kind::SoftHsm);
    let keys = device.keys();
    let elsewhere = device.hsm.file("elsewhere.pem");
    std::fs::copy(device.cert(), &elsewhere).unwrap();
    let mut rotate = device.signer.tedge_hsm();
    rotate.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
    rotate.args([
        "renew",
        "--new-key",
        "--est",
        &device.server.url("est"),
        "--cert",
    ]);
    rotate
        .arg(&elsewhere)
        .arg("--ca")
        .arg(device.ca.certificate());
    std::fs::remove_file(device.cert()).unwrap();
    let error = fail(&mut rotate);
    assert!(error.contains("so the new one is deleted again"), "{error}");
    assert_eq!(device.keys(), keys);
}

#[test]
fn an_operator_who_goes_back_loses_no_key() {
    let device = Device::new(Kind::SoftHsm);
    let old = device.hsm.file("old.pem");
    std::fs::copy(device.cert(), &old).unwrap();
    let mut rotate = device.renew("est");
    succeed(rotate.arg("--new-key"));
    std::fs::copy(&old, device.cert()).unwrap();
    device.connects();
    let error = fail(&mut device.rotate());
    assert!(
        error.contains("somebody has installed another certificate"),
        "{error}"
    );
    assert_eq!(device.keys().len(), 2);
    device.connects();
}

#[test]
fn it_works_on_a_module_too() {
    let device = Device::new(Kind::SoftHsm);
    let (old, uri) = (device.keys(), "pkcs11:token=device");
    let on_module = |command: &str| {
        let mut on_module = device.hsm.tedge_hsm();
        on_module.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
        on_module.args([command, "--uri", uri, "--cert"]);
        on_module.arg(device.cert()).arg("--ca");
        on_module.arg(device.ca.certificate());
        on_module
    };
    let mut rotate = on_module("renew");
    succeed(rotate.args(["--new-key", "--est", &device.server.url("est")]));
    let mut connect = on_module("connect");
    connect.args(["--host", "localhost", "--port"]);
    succeed(connect.arg(device.broker.port.to_string()));
    let device = device.with_signer_restarted();
    assert_eq!(device.keys().len(), 2);
    device.connects();
    succeed(&mut device.rotate());
    device.is_finished();
    assert_ne!(device.keys(), old);
}

#[test]
fn one_run_at_a_time() {
    let device = Device::new(Kind::SoftHsm);
    let lock_file = device.beside(".lock");
    let mut lock = held(&lock_file);
    let error = fail(&mut device.rotate());
    assert!(error.contains("another tedge-hsm works"), "{error}");
    lock.kill().unwrap();
    lock.wait().unwrap();
    // Everybody may read the folder, and so lock it.
    let mut lock = held(&device.hsm.file("device-certs"));
    succeed(&mut device.rotate());
    device.is_finished();
    assert!(!lock_file.exists());
    lock.kill().unwrap();
    lock.wait().unwrap();
}

/// Policies from before do not let a rotation happen, and the rule that does is as narrow as it can be.
#[test]
fn a_policy_without_the_rule_is_named_with_the_rule() {
    let before = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\n";
    let device = Device::with_policy(Kind::SoftHsm, Some(before));
    let keys = device.keys();
    let error = fail(&mut device.rotate());
    assert!(error.contains("does not let this user do"), "{error}");
    let (_, rule) = error.split_once("the rule for it is ").unwrap();
    let (rule, _) = rule.split_once("]:").unwrap();
    let rule = rule.replace("]] ", "]]\n").replace("\" op", "\"\nop") + "]\n";
    let rule = rule.replace("] keys", "]\nkeys");
    assert!(
        rule.contains("keys = [\"pkcs11:token=device;object=tls\"]"),
        "{rule}"
    );
    assert_eq!(device.keys(), keys);
    assert!(device.record().is_none());
    std::fs::write(
        device.hsm.file(support::signer::POLICY),
        format!("{before}{rule}"),
    )
    .unwrap();
    let device = device.with_signer_restarted();
    succeed(&mut device.rotate());
    device.is_finished();
    // No other key, and no other token.
    let mut create = device.signer.tedge_hsm();
    create.args(["create-key", "--uri", "pkcs11:token=device", "--label", "x"]);
    let error = fail(&mut create);
    assert!(error.contains("no rule"), "{error}");
}

#[test]
fn the_status_tells_of_a_rotation() {
    let device = Device::new(Kind::SoftHsm);
    let status = || {
        let mut status = device.signer.tedge_hsm();
        status.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
        let output = status.args(["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.success(), status)
    };
    let (success, told) = status();
    assert!(success && told["rotation"].is_null(), "{told}");
    let old = device.keys();
    fail(device.rotate().args(["--try-connect", "localhost:1"]));
    let (success, told) = status();
    let rotation = &told["rotation"];
    assert!(!success);
    assert_eq!(rotation["step"], "try");
    assert_eq!(rotation["old_key"], old[0].as_str());
    let error = rotation["error"].as_str().unwrap();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(
        told["problems"][0].as_str().unwrap().contains(error),
        "{told}"
    );
    succeed(device.renew("est").arg("--new-key"));
    let (success, told) = status();
    assert!(success);
    assert_eq!(told["rotation"]["step"], "keep-old");
    assert!(told["rotation"]["error"].is_null());
}

/// A process that has locked the file or folder.
fn held(path: &Path) -> Child {
    let mut lock = Command::new("flock");
    lock.arg("--no-fork").arg(path).args(["sleep", "600"]);
    let lock = lock.spawn().unwrap();
    let is_free = || {
        let mut flock = Command::new("flock");
        flock.arg("--nonblock").arg(path).arg("true");
        flock.status().unwrap().success()
    };
    while is_free() {
        std::thread::yield_now();
    }
    lock
}
