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
        ("moved", "it redirects to https://localhost/"),
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

/// An enrolment that is under way has its key: another one is not left out in silence.
#[test]
fn an_enrolment_goes_on_with_the_key_it_began_with() {
    let device = Device::new();
    fail(&mut device.est("broken"));
    let error = fail(device.est("broken").args(["--key", "other"]));
    assert!(
        error.contains("is under way, not with pkcs11:object=other"),
        "{error}"
    );
    let error = fail(device.est("broken").args(["--uri", "pkcs11:id=%99"]));
    assert!(
        error.contains("is under way, not with pkcs11:id="),
        "{error}"
    );
    assert_eq!(device.keys(), 1);
}

/// User tedge has the folders that these files are in. What he puts there sends no secret of root's anywhere, and leads to
/// no folder that root makes for him.
#[test]
fn files_of_another_user_are_not_relied_on() {
    if !support::user::can_be_others() {
        return;
    }
    let device = Device::new();
    let chown = |path: &std::path::Path, user| {
        std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
    };
    std::fs::create_dir(device.hsm.file("device-certs")).unwrap();
    let planted = device.beside(".one-time-password");
    support::write_secret(&planted, "KnownToSomebody");
    chown(&planted, USER);
    let error = fail(device.cumulocity().args(["--wait", "0"]));
    assert!(
        error.contains("belongs to") && !error.contains("KnownToSomebody"),
        "{error}"
    );
    let asked = device.ca.file("asked");
    assert!(!asked.exists(), "the password was sent");
    device.blank();
    let ca = device.hsm.file("theirs.pem");
    std::fs::copy(device.ca.certificate(), &ca).unwrap();
    chown(&ca, USER);
    let error = fail(&mut device.est_with_ca("est", &ca));
    assert!(error.contains("it is not relied on here"), "{error}");
    // Nor is a link of his followed, to a folder of root's with CAs that the operator has not named; and none is looked for
    // where there was none.
    let link = device.hsm.file("link");
    std::os::unix::fs::symlink("/etc/ssl/certs", &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(USER), Some(USER)).unwrap();
    let error = fail(&mut device.est_with_ca("est", &link));
    assert!(
        error.contains("is a folder that others can replace"),
        "{error}"
    );
    let error = fail(&mut device.est_with_ca("est", &device.hsm.file("none.pem")));
    assert!(error.contains("none.pem"), "{error}");
    // Of a folder of root's those files are left out that are his, also where root's links lead to them; and what leads to
    // the folder must not be his either. /tmp is anybody's.
    let folder = tempfile::Builder::new().tempdir_in("/run").unwrap();
    let [cas, others] = ["cas", "others"].map(|name| folder.path().join(name));
    std::fs::create_dir(&cas).unwrap();
    std::fs::create_dir(&others).unwrap();
    std::os::unix::fs::symlink(&ca, cas.join("link.pem")).unwrap();
    std::fs::copy(&ca, cas.join("file.pem")).unwrap();
    chown(&cas.join("file.pem"), USER);
    std::os::unix::fs::symlink(&cas, others.join("cas")).unwrap();
    std::os::unix::fs::symlink(others.join("cas"), folder.path().join("way")).unwrap();
    chown(&others, USER);
    let error = fail(&mut device.est_with_ca("est", &cas));
    assert!(error.contains("no certificate"), "{error}");
    let error = fail(&mut device.est_with_ca("est", &folder.path().join("way")));
    assert!(
        error.contains("is a folder that others can replace"),
        "{error}"
    );
    // The one that is pinned is the one that is trusted, whatever else is in the file.
    let both = device.hsm.file("both.pem");
    let read = |name| std::fs::read_to_string(device.ca.file(name)).unwrap();
    std::fs::write(&both, read("ca.pem") + &read("other.pem")).unwrap();
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let printed = support::succeed(openssl.arg(device.ca.file("other.pem")));
    let fingerprint = printed.trim_end().split_once('=').unwrap().1;
    let error = fail(
        device
            .est_with_ca("est", &both)
            .args(["--fingerprint", fingerprint]),
    );
    assert!(error.contains("TLS handshake"), "{error}");
    // tedge.toml leads to no folder of root's.
    let elsewhere = device.hsm.file("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let toml = device.hsm.file("tedge.toml");
    for cert in ["c.pem", "made/c.pem", "made/deep/c.pem"] {
        let text = format!(
            "[device]\ncert_path = {:?}\n",
            elsewhere.join(cert).display().to_string()
        );
        std::fs::write(&toml, text).unwrap();
        chown(&toml, USER);
        let error = fail(&mut device.est("est"));
        assert!(error.contains("it is not relied on here"), "{error}");
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "{cert}");
        // Nor to a tenant of his.
        let mut enroll = device.cumulocity();
        enroll
            .args(["--wait", "0", "--cert"])
            .arg(device.hsm.file("c.pem"));
        let error = fail(&mut enroll);
        assert!(error.contains("nobody has registered"), "{error}");
        std::fs::remove_file(device.hsm.file("c.pem.enrolment")).unwrap();
    }
}

const USER: u32 = 4711;
