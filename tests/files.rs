//! Root's `tedge-hsm` in folders where another user puts links, FIFOs and devices in the way.

use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::process::Command;

use rustix::process::geteuid;
use support::{Hsm, Kind, fail, succeed};

const NOBODY: u32 = 65534;

/// A link of another user's, in a folder above the file, leads to a folder that only root may enter.
#[test]
fn root_writes_and_reads_through_no_link_of_another_user() {
    if !geteuid().is_root() {
        println!("skipped: giving away a link takes root");
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let key = hsm.create_key("tls", "p256");
    let (theirs, secret) = (hsm.file("theirs"), hsm.file("secret"));
    std::fs::create_dir(&theirs).unwrap();
    std::fs::create_dir(&secret).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o700)).unwrap();
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::write(secret.join("x.pem"), "precious").unwrap();
    let link = theirs.join("device-certs");
    symlink(&secret, &link).unwrap();
    lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    let file = link.join("x.pem");

    let made = ["--uri", &key, "--common-name", "x", "--output"];
    for command in ["self-signed", "csr"] {
        let error = fail(hsm.tedge_hsm().arg(command).args(made).arg(&file));
        let refused = format!("{} is a symbolic link of user nobody", link.display());
        assert!(error.contains(&refused), "{error}");
        assert!(error.contains("or remove the link"), "{error}");
    }
    let error = fail(hsm.tedge_hsm().arg("show").arg(&file));
    assert!(error.contains("which root does not follow"), "{error}");
    assert_eq!(
        std::fs::read_to_string(secret.join("x.pem")).unwrap(),
        "precious"
    );

    // In the folder itself there is nothing against it.
    let file = theirs.join("x.pem");
    succeed(hsm.tedge_hsm().arg("self-signed").args(made).arg(&file));
}

/// As it prepares an image, where the folder that it is to make files in is such a link, or one above it.
#[test]
fn setup_makes_no_folder_through_a_link_of_another_user() {
    if !geteuid().is_root() {
        println!("skipped: giving away a link takes root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    for bent in [
        "etc/systemd",
        "etc/systemd/system/tedge-p11-server.service.d",
        "etc/tedge",
    ] {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("usr/lib/softhsm/libsofthsm2.so", ""),
            ("usr/lib/tedge-p11-server/softhsm.conf", ""),
            ("etc/passwd", "tedge-p11:x:900:900\ntedge:x:901:901\n"),
            (
                "etc/group",
                "tedge-p11:x:900:\ntedge:x:901:\ntedge-hsm:x:902:\n",
            ),
        ] {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let link = root.path().join(bent);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(secret.join("none"), &link).unwrap();
        lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
        let setup = || {
            let mut setup = Command::new(support::program("tedge-hsm"));
            setup.args(["setup", "--hsm", "softhsm", "--common-name", "x"]);
            setup.arg("--root").arg(root.path());
            setup
        };
        let output = setup().output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let refused = format!("{} is a symbolic link of user nobody", link.display());
        assert!(!output.status.success(), "{error}");
        assert!(error.contains(&refused), "{error}");
        assert_eq!(std::fs::read_dir(&secret).unwrap().count(), 0, "{bent}");
        // His own folder does no harm.
        std::fs::remove_file(&link).unwrap();
        std::fs::create_dir(&link).unwrap();
        chown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
        // Only the signer's unit is missing here.
        let output = setup().output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("tedge-p11-server.socket"), "{error}");
    }
}

#[test]
fn what_is_no_regular_file_keeps_nobody_waiting() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let key = hsm.create_key("tls", "p256");
    let fifo = hsm.file("fifo");
    succeed(Command::new("mkfifo").arg(&fifo));
    let mut self_signed = hsm.tedge_hsm();
    self_signed.args(["self-signed", "--uri", &key, "--common-name", "x"]);
    let error = fail(self_signed.arg("--output").arg(&fifo));
    assert!(error.contains("no regular file, but a FIFO"), "{error}");
    for (path, what) in [(fifo, "FIFO"), ("/dev/zero".into(), "device")] {
        let error = fail(hsm.tedge_hsm().arg("show").arg(&path));
        assert!(error.contains(what), "{error}");
    }
}

/// `/dev/zero` has no end. What whoever calls has opened himself may be anything, and has a largest size.
#[test]
fn a_certificate_without_end_fills_no_memory() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let config = hsm.file("config");
    std::fs::create_dir(&config).unwrap();
    let toml = "[device]\ncert_path = \"/dev/zero\"\n[c8y]\nurl = \"localhost:1\"\nroot_cert_path = \"/dev/zero\"\n";
    std::fs::write(config.join("tedge.toml"), toml).unwrap();
    let limited = |command: &Command| {
        let mut shell = Command::new("sh");
        // 1 GiB of addresses: far less than what a device without end has.
        shell.args(["-c", "ulimit -v 1048576; exec \"$@\"", "-"]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell
    };
    let mut doctor = hsm.tedge_hsm();
    doctor.arg("doctor").arg("--config-dir").arg(&config);
    let said = limited(&doctor).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let expected = "/dev/zero: it is no regular file, but a device";
    assert!(said.contains(expected), "{said}");

    let mut show = hsm.tedge_hsm();
    show.args(["show", "/dev/stdin"]);
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let error = fail(limited(&show).stdin(zero));
    assert!(error.contains("bytes, which is too long"), "{error}");
}
