//! The command lines, as cases that a person can read: the sessions in tests/cases. Each is run in an
//! empty folder with a token and a signer of its own; `SNAPSHOTS=overwrite` writes down what it prints
//! now.

use std::fmt::Write as _;
use std::process::Command;

use snapbox::{Assert, Data, Redactions};
use support::hsm::opensc_module;
use support::{Ca, Hsm, Kind, Signer, program, repository};

macro_rules! cases {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name));
        }
    )*};
}

cases! { commissioning connecting mistakes }

#[test]
fn every_session_is_run() {
    let sessions = std::fs::read_dir(repository().join("tests/cases")).unwrap();
    assert_eq!(sessions.count(), 3, "add it to cases! above");
}

fn run(name: &str) {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start_with(&hsm, &["--pin", support::hsm::PIN]);
    let ca = Ca::new();
    let broker = (name == "connecting").then(|| support::Broker::start(&ca));
    let port = broker.as_ref().map(|broker| broker.port.to_string());
    let port = port.unwrap_or_else(|| "1".to_owned());
    let dir = hsm.file("session");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(ca.certificate(), dir.join("ca.pem")).unwrap();
    std::fs::copy(ca.file("ca.key"), dir.join("ca.key")).unwrap();
    std::fs::write(dir.join("pin-file"), support::hsm::PIN).unwrap();
    std::fs::write(dir.join("so-pin-file"), support::hsm::SO_PIN).unwrap();

    let file = repository().join(format!("tests/cases/{name}.console"));
    let session = std::fs::read_to_string(&file).unwrap();
    let mut transcript = String::new();
    for line in session.lines() {
        if line.starts_with("# ") {
            writeln!(transcript, "{line}\n").unwrap();
        } else if let Some(command) = line.strip_prefix("$ ") {
            let mut shell = hsm.command("sh");
            let bin = program("tedge-hsm");
            let path = std::env::var("PATH").unwrap();
            shell
                .current_dir(&dir)
                .args(["-c", &format!("exec 2>&1; {command}")])
                .env(
                    "PATH",
                    format!("{}:{path}", bin.parent().unwrap().display()),
                )
                .env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", signer.socket())
                .env("TEDGE_CONFIG_DIR", &dir)
                .env("PORT", &port)
                .env("MODULE", hsm.module())
                .env("OPENSC", opensc_module())
                .stdin(std::process::Stdio::null());
            writeln!(transcript, "{line}\n{}", output(&mut shell)).unwrap();
        }
    }
    let mut redactions = Redactions::new();
    redactions
        .insert("[DIR]", dir.display().to_string())
        .unwrap();
    redactions
        .insert("[SOCKET]", signer.socket().display().to_string())
        .unwrap();
    redactions
        .insert("[MODULE]", hsm.module().display().to_string())
        .unwrap();
    if broker.is_some() {
        redactions.insert("[PORT]", port).unwrap();
    }
    for (name, pattern) in [
        ("[SERIAL]", r"serial=(?<redacted>[0-9a-f]{16})"),
        ("[ID]", r"id=(?<redacted>(%[0-9A-F]{2}){20})"),
        ("[SLOT]", r"slot (?<redacted>[0-9]{4,})"),
        ("[TIME]", r"(?<redacted>[0-9]+\.[0-9] ms)"),
    ] {
        redactions
            .insert(name, regex::Regex::new(pattern).unwrap())
            .unwrap();
    }
    Assert::new()
        .action_env("SNAPSHOTS")
        .redact_with(redactions)
        .eq(transcript, Data::read_from(&file, None));
}

/// What a command prints, and its exit code unless that is 0.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => writeln!(text, "? {code}").unwrap(),
        None => writeln!(text, "? {}", output.status).unwrap(),
    }
    text
}
