//! `tedge-hsm-bridge --check`: what it finds before the service does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use support::{Ca, program};

use crate::rig::Rig;

/// Exit code, stdout, stderr.
fn check(config: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(program("tedge-hsm-bridge"));
    let output = command
        .arg("--check")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn what_the_configuration_names_is_looked_at() {
    let mut rig = Rig::start();
    let file = rig.hsm.file("checked.toml");
    let password = rig.hsm.file("password");
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let good = rig.config(&format!(
        "username = \"u\"\npassword_file = \"{}\"",
        password.display()
    ));
    std::fs::write(&file, &good).unwrap();
    let ok = (Some(0), "ok: 1 cloud, 2 rules\n".to_owned(), String::new());
    assert_eq!(check(&file), ok);
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let foreign = rig.ca.file("localhost.pem");
    let empty = rig.hsm.file("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let none = Path::new("/none/x");
    let local = format!("port = {}\n", rig.local.port);
    for (from, to, wanted) in [
        (quoted(&rig.cert), quoted(none), "/none/x"),
        (
            quoted(&rig.cert),
            quoted(&foreign),
            "does not belong to the key",
        ),
        (quoted(&rig.ca.certificate()), quoted(none), "/none/x"),
        (quoted(&rig.ca.certificate()), quoted(&empty), "empty.pem"),
        (
            "object=device".to_owned(),
            "object=other".to_owned(),
            "other",
        ),
        (
            quoted(&rig.socket()),
            quoted(none),
            "cannot connect to the signer at /none/x",
        ),
        (
            quoted(&password),
            quoted(none),
            "cannot read the password from /none/x",
        ),
        (
            local.clone(),
            "socket = \"/none/x\"\n".to_owned(),
            "[local] socket /none/x: No such file",
        ),
        (
            local,
            format!("socket = {}\n", quoted(&file)),
            "checked.toml is no socket",
        ),
    ] {
        assert!(good.contains(&from), "{from}");
        std::fs::write(&file, good.replacen(&from, &to, 1)).unwrap();
        let (code, stdout, stderr) = check(&file);
        assert_eq!((code, &*stdout), (Some(3), ""), "{stderr}");
        assert!(stderr.contains(wanted), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    std::fs::write(&file, &good).unwrap();
    for mode in [0o644, 0o604, 0o660, 0o620] {
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(mode)).unwrap();
        let (code, stdout, stderr) = check(&file);
        assert_eq!((code, &*stdout), (Some(3), ""), "{mode:o}: {stderr}");
        assert!(
            stderr.contains("may be read or written by users other than its owner: chmod 600 it"),
            "{stderr}"
        );
    }
    if rustix::process::geteuid().is_root() {
        // The service's group, perhaps.
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o640)).unwrap();
        let (code, stdout, stderr) = check(&file);
        assert_eq!((code, &*stdout), (Some(0), "ok: 1 cloud, 2 rules\n"));
        assert!(stderr.contains("its group may read it"), "{stderr}");
    }
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    // What should not be left, and all that is wrong at once.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (code, stdout, stderr) = check(&file);
    assert_eq!((code, &*stdout), (Some(0), "ok: 1 cloud, 2 rules\n"));
    assert!(stderr.contains("everybody may write it"), "{stderr}");
    rig.signer = None;
    let text = good.replacen("[local]\n", "[local]\nsocket = \"/none/y\"\n", 1);
    std::fs::write(&file, text.replacen("port = ", "keep_alive = 60 # ", 1)).unwrap();
    let (code, _, stderr) = check(&file);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("is tedge-p11-server running?"), "{stderr}");
    assert!(stderr.contains("/none/y"), "{stderr}");
}

/// The example is installed as it is.
#[test]
fn the_example_says_that_no_cloud_is_configured() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/tedge-hsm-bridge");
    let example = dir.join("tedge-hsm-bridge.toml");
    let (code, stdout, stderr) = check(&example);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(
        stderr.contains(
            "tedge-hsm-bridge.toml: no cloud is configured: it has no table [cloud.NAME] yet"
        ),
        "{stderr}"
    );
    // Its commented lines are a cloud that is complete but for files and keys.
    let ca = Ca::new();
    let text = std::fs::read_to_string(&example).unwrap();
    let (head, rest) = text.split_once("# [cloud.c8y]\n").unwrap();
    let cloud: Vec<_> = rest
        .lines()
        .take_while(|line| !line.starts_with("# More rules"))
        .map(|line| line.trim_start_matches("# ").trim_start_matches('#'))
        .collect();
    let edited = format!("{head}[cloud.c8y]\n{}\n", cloud.join("\n"));
    let file = ca.file("edited.toml");
    std::fs::write(&file, edited).unwrap();
    let (code, _, stderr) = check(&file);
    assert_eq!(code, Some(3), "{stderr}");
}
