//! Files with PINs, from the file to the token: what an editor leaves behind a PIN costs no try of it, and who may read
//! such a file. The module of tests/faulty-module notes each login.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use support::faulty::Faulty;
use support::hsm::PIN;
use support::{Hsm, Kind, Signer, fail, install, openssl, program, succeed, user, write_secret};

#[test]
fn no_try_is_spent_on_what_is_no_part_of_a_pin() {
    let hsm = Faulty::tokens();
    let uri = hsm.create_key("key", "p256");
    let file = hsm.file("written");
    let configured = format!("pkcs11:token=device?pin-source={}", file.display());
    let signer = || {
        let mut command = Faulty::command(&hsm);
        command.args(["--uri", &configured]);
        command
    };
    let straight = || {
        let mut command = hsm.command(program("tedge-hsm"));
        command
            .arg("--module-path")
            .arg(program("libfaulty_module.so"));
        command.env("FAULTY_MODULE", hsm.module());
        command.env("FAULTY_CONTROL", hsm.file("control"));
        command.env("FAULTY_LOG", hsm.file("calls.log"));
        command.args(["list-keys", "--uri", "pkcs11:token=device", "--pin-file"]);
        command.arg(&file);
        command
    };
    let logins = || {
        let log = std::fs::read_to_string(hsm.file("calls.log")).unwrap_or_default();
        let logins = log.lines().filter(|line| line.starts_with("C_Login "));
        let wrong = logins.clone().filter(|line| !line.contains(" CKR_OK "));
        (logins.count(), wrong.count())
    };
    for stray in [
        "\u{feff}123456",
        "123456 ",
        "123456\t\n",
        " 123456",
        "123456\n654321\n",
    ] {
        write_secret(&file, stray);
        for mut command in [signer(), straight()] {
            let said = fail(&mut command);
            assert!(said.contains("no part of a PIN"), "{stray:?}: {said}");
            assert!(!said.contains(PIN), "{said}");
        }
    }
    assert_eq!(logins(), (0, 0));
    for whole in ["123456", "123456\n", "123456\n\n", "123456\r\n"] {
        write_secret(&file, whole);
        succeed(&mut straight());
        let signer = Signer::spawn(&hsm, &mut signer());
        openssl::verify_all_schemes(&signer.key(&uri));
    }
    let (all, wrong) = logins();
    assert!(
        all > 0 && wrong == 0,
        "{all} logins, {wrong} with a wrong PIN"
    );
}

/// The signer of a unit is no root: its file is root's, and its own group may read it.
#[test]
fn a_signer_of_another_user_reads_roots_file_by_its_group() {
    if !user::can_be_others() {
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("key", "p256");
    succeed(
        Command::new("chown")
            .args(["-R", "4242:4242"])
            .arg(hsm.dir.path()),
    );
    let pin = hsm.file("pin");
    let belongs = |uid, gid, mode| {
        chown(&pin, Some(uid), Some(gid)).unwrap();
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let programs = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.path(), open).unwrap();
    let configured = format!("pkcs11:token=device?pin-source={}", pin.display());
    let signer = |groups: &str| {
        let mut command = Signer::command(&hsm, &hsm.module());
        command.args(["--uri", &configured]);
        as_user(&command, groups, programs.path())
    };
    belongs(0, 4242, 0o640);
    let running = Signer::spawn(&hsm, &mut signer("--clear-groups"));
    openssl::verify_all_schemes(&running.key(&uri));
    drop(running);
    // Of a group that the signer is a member of, others are, too.
    belongs(0, 4343, 0o640);
    let said = fail(&mut signer("--groups=4343"));
    assert!(
        said.contains("may be read or written by users other"),
        "{said}"
    );
    for (uid, gid, mode) in [(0, 4242, 0o660), (0, 4242, 0o644), (4343, 4242, 0o640)] {
        belongs(uid, gid, mode);
        let said = fail(&mut signer("--clear-groups"));
        assert!(
            said.contains("may be read or written by users other"),
            "{said}"
        );
    }
}

/// `command`, as user and group 4242.
fn as_user(command: &Command, groups: &str, programs: &Path) -> Command {
    let copy = install("tedge-p11-server", programs);
    let mut other = Command::new("setpriv");
    other.args(["--reuid=4242", "--regid=4242", groups, "--"]);
    other.arg(copy).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}
