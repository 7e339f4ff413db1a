//! Killed before each call that changes something: the device connects, and the next run finishes.

use std::process::{Command, Stdio};

use support::{Kind, succeed};

use crate::rig::Device;

#[test]
fn killed_at_every_step_on_softhsm() {
    killed_at_every_step(Kind::SoftHsm, CALLS);
}

#[test]
fn killed_at_every_step_on_a_tpm() {
    // Before each change of a file is between all steps. Requests are many, and a TPM is slow.
    killed_at_every_step(Kind::Tpm2, &["renameat", "unlinkat"]);
}

/// What changes something: requests to the signer, the CA and the broker, and files. strace kills before the call is
/// made, so that between two kills there is one change.
const CALLS: &[&str] = &["connect", "renameat", "unlinkat"];

fn killed_at_every_step(kind: Kind, calls: &[&str]) {
    let device = Device::new(kind);
    println!("| killed before | recorded step | certificate | keys | connects | next run |");
    println!("|---|---|---|---|---|---|");
    let mut steps = Vec::new();
    for call in calls {
        for number in 1.. {
            let before = device.certificate();
            if !kill(&device, call, number) {
                break;
            }
            let step = device.step().unwrap_or_else(|| "none".to_owned());
            let is_old = device.certificate() == before;
            let keys = device.keys().len();
            device.connects();
            succeed(&mut device.rotate());
            device.is_finished();
            println!(
                "| {call} {number} | {step} | {} | {keys} | yes | finished |",
                if is_old { "old" } else { "new" }
            );
            steps.push(step);
        }
    }
    for step in [
        "none",
        "make-key",
        "request",
        "try",
        "switch",
        "hook",
        "keep-old",
        "delete-old",
    ] {
        assert!(steps.iter().any(|s| s == step), "never killed at {step}");
    }
}

/// Runs a rotation that is killed before the call of that number; false if it makes fewer of them.
fn kill(device: &Device, call: &str, number: u32) -> bool {
    let log = device.hsm.file("strace");
    let words = [
        "strace".to_owned(),
        "--follow-forks".to_owned(),
        "--quiet=all".to_owned(),
        format!("--output={}", log.display()),
        format!("--trace=?{call}"),
        format!("--inject=?{call}:signal=KILL:when={number}"),
    ];
    let mut rotate = device.renew_under(&words, "est");
    rotate.args(["--new-key", "--keep-old", "0"]);
    let status = rotate.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let was_killed = std::fs::read_to_string(log)
        .unwrap()
        .contains("killed by SIGKILL");
    assert_eq!(!status.unwrap().success(), was_killed, "{call} {number}");
    was_killed
}

/// The hook kills the program that started it.
#[test]
fn killed_by_its_hook() {
    use std::os::unix::fs::PermissionsExt as _;
    let device = Device::new(Kind::SoftHsm);
    let hook = device.hsm.file("hook");
    std::fs::write(&hook, "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut rotate: Command = device.rotate();
    assert!(!rotate.arg("--hook").arg(&hook).status().unwrap().success());
    assert_eq!(device.step().unwrap(), "hook");
    device.connects();
    succeed(&mut device.rotate());
    device.is_finished();
}
