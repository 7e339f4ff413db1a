//! What our units and their scripts name, judged by who may write it: nobody who is less privileged than the unit.
//!
//! What the programs read without being told is not in a unit: tedge.toml, the policy and the bridge's file, in /etc/tedge,
//! which may be user tedge's. N5 of docs/threat-model.md says why they may be there: a policy must be root's, and one in
//! /etc/tedge-hsm goes before it; of tedge.toml the signer loads no module that he wrote, and doctor neither; the bridge
//! has little that he has not.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where root alone may write, as Debian and OpenEmbedded install it, or as the unit itself has it made.
const ROOTS: [&str; 16] = [
    "/bin/",
    "/dev/",
    "/lib",
    "/sbin/",
    "/usr/",
    "/etc/credstore",
    "/etc/machine-id",
    "/etc/systemd/",
    "/etc/tedge-hsm/",
    "/run/pcscd/",
    "/run/credentials/",
    // The socket's folder, which PID 1 makes.
    "/run/tedge-p11-server/",
    "/var/lib/systemd/",
    // StateDirectory= of tedge-hsm-provision.service, which runs as root.
    "/var/lib/tedge-hsm/",
    // Not read: a sandbox has it, or has it not.
    "/etc",
    "/",
];

/// What somebody else may write, and why that gives him nothing that he has not.
const EXCEPTIONS: [(&str, &str, &str); 5] = [
    (
        "tedge-hsm-enroll.service",
        "/etc/tedge/device-certs",
        "the service runs as user tedge, whose folder it is, and writes the certificate there",
    ),
    (
        "tedge-hsm-renew.service",
        "/etc/tedge/tedge-hsm-renew.env",
        "where older versions had the settings: looked for, so that the service fails with what to do, and not read",
    ),
    (
        "tedge-hsm-renew.service",
        "/etc/tedge/device-certs",
        "the service runs as user tedge, whose folder it is, and writes the certificate there",
    ),
    (
        "tpm2.conf",
        "/var/lib/tedge-p11-server/tpm2_pkcs11",
        "the state folder of the service's own user, as whom it reads it",
    ),
    (
        "tpm2-lock.conf",
        "/run/tedge-p11-server-lock",
        "the RuntimeDirectory= of the service's own user",
    ),
];

/// They give a process less than it would have; what they name is not read because of them.
const SANDBOX: [&str; 5] = [
    "ExecPaths",
    "NoExecPaths",
    "InaccessiblePaths",
    "ReadOnlyPaths",
    "DeviceAllow",
];

/// They have PID 1 read a file with all its rights, wherever a link leads, and set whatever variable is in it.
const FORBIDDEN: [&str; 2] = ["EnvironmentFile", "PassEnvironment"];

#[test]
fn no_unit_reads_what_a_less_privileged_user_may_write() {
    let mut wrong = String::new();
    let (mut units, mut excused) = (0, Vec::new());
    for path in shipped() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        units += 1;
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.starts_with('#') {
                continue;
            }
            let key = text.split('=').next().unwrap_or_default();
            if FORBIDDEN.contains(&key) {
                writeln!(wrong, "{}, line {line}: {key}=", path.display()).unwrap();
            }
            if SANDBOX.contains(&key) {
                continue;
            }
            for named in paths(text).filter(|named| !is_roots(named)) {
                let exception = EXCEPTIONS
                    .iter()
                    .position(|(unit, path, _)| *unit == name && *path == named);
                match exception {
                    Some(exception) => excused.push(exception),
                    None => writeln!(wrong, "{}, line {line}: {named}", path.display()).unwrap(),
                }
            }
        }
    }
    assert!(units >= 12, "only {units} units were found");
    assert!(
        wrong.is_empty(),
        "who else may write this? Root's own folder is /etc/tedge-hsm.\n{wrong}"
    );
    for (exception, (unit, path, _)) in EXCEPTIONS.iter().enumerate() {
        let used = excused.contains(&exception);
        assert!(used, "{unit} does not name {path} any more");
    }
}

/// Units, drop-ins and the scripts that units run: in dist/, and in the Yocto layer.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![
        root.join("dist"),
        root.join("rust"),
        root.join("meta-tedge-hsm"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if is_unit(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_unit(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else {
        return false;
    };
    let name = path.to_string_lossy();
    let has_section = text.lines().any(|line| {
        matches!(
            line,
            "[Unit]" | "[Service]" | "[Socket]" | "[Timer]" | "[Path]"
        )
    });
    let is_named = [
        ".service", ".socket", ".timer", ".path", ".conf", ".conf.in",
    ]
    .iter()
    .any(|end| name.ends_with(end));
    // What runs on the device; the layer's own scripts do not.
    let in_recipe = name.contains("/recipes-tedge-hsm/");
    let is_script = text.starts_with("#!/bin/sh") && in_recipe;
    has_section && is_named || is_script
}

/// The absolute paths in a line.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || "=:|-+!@\"'`$(){};<>,".contains(c) && c != '-')
        .map(|word| word.trim_start_matches('-'))
        .filter(|word| word.starts_with('/'))
}

fn is_roots(path: &str) -> bool {
    ROOTS.iter().any(|root| match root.strip_suffix('/') {
        _ if path == *root => true,
        Some("") | None => *root != "/" && *root != "/etc" && path.starts_with(root),
        Some(folder) => path.starts_with(root) || path == folder,
    })
}

#[test]
fn paths_are_found_and_judged() {
    let all: Vec<_> = paths("ExecStart=-/usr/bin/x --y=/etc/tedge/z pin:/run/a").collect();
    assert_eq!(all, ["/usr/bin/x", "/etc/tedge/z", "/run/a"]);
    assert!(is_roots("/usr/bin/x") && is_roots("/lib64") && is_roots("/etc"));
    for other in [
        "/etc/tedge/z",
        "/run/a",
        "/tmp/x",
        "/var/lib/tedge-p11-server/x",
    ] {
        assert!(!is_roots(other), "{other}");
    }
}
