//! Killed before each change of a file: the next run finishes, with one key and one request.

use std::process::Stdio;

use support::succeed;

use crate::rig::Device;

#[test]
fn killed_at_every_step() {
    let device = Device::new();
    println!("| killed before | recorded step | key | certificate | bridge | next run |");
    println!("|---|---|---|---|---|---|");
    let mut steps = Vec::new();
    for call in ["renameat", "unlinkat"] {
        for number in 1.. {
            device.blank();
            if !kill(&device, call, number) {
                break;
            }
            let record = std::fs::read_to_string(device.beside(".enrolment")).unwrap_or_default();
            let step = record.split("\"step\": \"").nth(1).unwrap_or("none\"");
            let step = step.split('"').next().unwrap().to_owned();
            let yes = |is| if is { "yes" } else { "no" };
            let (keys, cert, bridge) = (
                device.keys(),
                device.cert().exists(),
                !device.bridge().is_empty(),
            );
            succeed(&mut device.est("same"));
            device.is_enrolled("ca.pem");
            println!(
                "| {call} {number} | {step} | {keys} | {} | {} | finished |",
                yes(cert),
                yes(bridge)
            );
            let _ = std::fs::remove_file(device.ca.file("same"));
            steps.push(step);
        }
    }
    for step in [
        "none",
        "make-key",
        "certificate",
        "register",
        "configure",
        "try",
    ] {
        assert!(
            steps.iter().any(|s| s == step),
            "never killed at {step}: {steps:?}"
        );
    }
}

/// Runs an enrolment that is killed before the call of that number; false if it makes fewer of them.
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
    let mut enroll = device.est_under(&words, "same");
    enroll.args(["--user", "installer", "--password-file"]);
    enroll.arg(device.hsm.file("password"));
    let status = enroll.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let was_killed = std::fs::read_to_string(log)
        .unwrap()
        .contains("killed by SIGKILL");
    assert_eq!(!status.unwrap().success(), was_killed, "{call} {number}");
    if !was_killed {
        let _ = std::fs::remove_file(device.ca.file("same"));
    }
    was_killed
}
