//! The signer, its policy and its files.

use std::os::unix::net::UnixListener;
use std::process::Command;

use support::signer::POLICY;
use support::{Signer, program};

use crate::{Bench, Findings, as_nobody, chmod};

#[test]
fn a_healthy_signer() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let signer = Signer::start_with_default_policy(&bench.hsm);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.are_good();
    findings.ok("signer", "with this project's extension answers");
    findings.ok("policy", "may sign, describe, list");
    findings.ok(
        "policy",
        "may be used for tls13-client, tls12-client, csr, self-signed",
    );
    findings.ok("policy", "refuses to sign bytes without a purpose");
    findings.ok("key", "object=tls;type=private signs, verified");
}

/// As thin-edge.io's units, and ours of before, have it.
#[test]
fn a_socket_that_is_another_users() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let signer = Signer::start_with_default_policy(&bench.hsm);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.are_good();
    if std::os::unix::fs::chown(signer.socket(), Some(65534), None).is_err() {
        println!("skipped: giving away a socket takes root");
        return;
    }
    let advised = |cure| {
        let findings = Findings::of(&mut bench.through(&signer));
        findings.warning("signer", "who may open it to everybody", cure);
    };
    advised("have the socket belong to root");
    bench.install_units();
    advised("systemctl restart tedge-p11-server.socket");
}

fn without_signer(bench: &Bench, socket: &str) -> Command {
    let mut command = Command::new(program("tedge-hsm"));
    command.arg("--socket-path").arg(bench.hsm.file(socket));
    bench.of(command)
}

#[test]
fn a_socket_that_is_missing() {
    let bench = Bench::new();
    let advised = |cure| {
        let mut command = bench.of(Command::new(program("tedge-hsm")));
        let what = "run/tedge-p11-server/tedge-p11-server.sock: No such file";
        Findings::of(&mut command).failure("signer", what, cure);
    };
    advised("start tedge-p11-server, or install it");
    bench.install_units();
    advised("systemctl enable --now tedge-p11-server.socket");
}

#[test]
fn a_socket_at_which_nobody_listens() {
    let bench = Bench::new();
    drop(UnixListener::bind(bench.hsm.file("signer.sock")).unwrap());
    let findings = Findings::of(&mut without_signer(&bench, "signer.sock"));
    findings.failure("signer", "Connection refused", "nobody listens");
}

#[test]
fn a_file_in_the_place_of_the_socket() {
    let bench = Bench::new();
    let findings = Findings::of(&mut without_signer(&bench, "pin"));
    findings.failure("signer", "is no socket", "correct --socket-path");
}

#[test]
fn a_socket_that_this_user_may_not_open() {
    let bench = Bench::new();
    let open = tempfile::tempdir().unwrap();
    chmod(open.path(), 0o755);
    let _listener = UnixListener::bind(open.path().join("s")).unwrap();
    chmod(&open.path().join("s"), 0o660);
    let mut command = Command::new(program("tedge-hsm"));
    command.arg("--socket-path").arg(open.path().join("s"));
    if let Some(mut command) = as_nobody(&bench.of(command), open.path()) {
        let findings = Findings::of(&mut command);
        findings.failure("signer", "Permission denied", "usermod -aG");
    }
}

#[test]
fn a_policy_that_refuses_this_user() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let rule = "[[rule]]\nuid = 4242\noperations = [\"sign\"]\n";
    std::fs::write(bench.hsm.file(POLICY), rule).unwrap();
    let signer = Signer::start(&bench.hsm);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.failure("policy", "may not sign", "add a rule");
    findings.failure("key", "no rule of the policy allows it", "SIGHUP");
}

#[test]
fn a_policy_that_refuses_the_purpose() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let rule = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\npurposes = [\"csr\"]\n";
    std::fs::write(bench.hsm.file(POLICY), rule).unwrap();
    let signer = Signer::start(&bench.hsm);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.failure("key", "it is for tls13-client", "have a rule");
}

/// The signer goes by the policy that it read; the next one is told of before it is.
#[test]
fn a_policy_that_will_refuse_the_purpose() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let signer = Signer::start(&bench.hsm);
    let rule = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\npurposes = [\"csr\"]\n";
    std::fs::write(bench.hsm.file(POLICY), rule).unwrap();
    let findings = Findings::of(&mut bench.through(&signer));
    findings.ok("key", "object=tls;type=private signs");
    findings.warning("policy", "may be used for csr", "tls13-client");
}

#[test]
fn a_policy_that_has_any_bytes_signed() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let signer = Signer::start(&bench.hsm);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.warning("policy", "signs any bytes", "purposes");
}

#[test]
fn a_policy_with_a_mistake() {
    let bench = Bench::new();
    let signer = Signer::start(&bench.hsm);
    let policy = bench.hsm.file(POLICY);
    std::fs::write(&policy, "[[rule]]\noperations = [\"sing\"]\n").unwrap();
    let findings = Findings::of(&mut bench.through(&signer));
    findings.failure("policy", "rule 1: \"sing\" is no operation", "correct it");
    std::fs::write(&policy, "").unwrap();
    chmod(&policy, 0o666);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.failure("policy", "users other than root may write it", "SIGHUP");
}

#[test]
fn a_signer_without_a_pin() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let signer = Signer::start_with(&bench.hsm, &[]);
    let findings = Findings::of(&mut bench.through(&signer));
    findings.failure(
        "key",
        "needs its user PIN",
        "/etc/credstore/tedge-p11-server.pin",
    );
}

#[test]
fn a_tedge_toml_with_mistakes() {
    let bench = Bench::new();
    for (text, mode, what, cure) in [
        (
            "[device.cryptoki]\npin = \"123456\" x\n",
            0o600,
            "tedge.toml, line 2: ",
            "correct it",
        ),
        (
            "[device.cryptoki]\nuri = \"pkcs11:tokn=x\"\n",
            0o644,
            "unknown attribute \"tokn\"",
            "list-tokens",
        ),
        (
            "[device.cryptoki]\npin = \"123456\"\n",
            0o644,
            "holds a PIN and may be read by everybody",
            "/etc/credstore",
        ),
        ("", 0o666, "may be written by every user", "chmod o-w"),
    ] {
        let file = bench.write("etc/tedge/tedge.toml", text);
        chmod(&file, mode);
        Findings::of(&mut bench.straight()).failure("config", what, cure);
    }
}

/// As docs say: root's, for the signer's own group.
#[test]
fn a_pin_file_for_the_signers_group() {
    let bench = Bench::new();
    let pin = bench.write("etc/pin", support::hsm::PIN);
    let uri = "[device.cryptoki]\nuri = \"pkcs11:token=device?pin-source=/etc/pin\"\n";
    bench.write("etc/tedge/tedge.toml", uri);
    bench.write("etc/passwd", "tedge-p11:x:4242:4243::/:/bin/false\n");
    let said = |gid, mode, state: &str, what: &str, cure: &str| {
        if std::os::unix::fs::chown(&pin, Some(0), Some(gid)).is_err() {
            return println!("skipped: giving away a file takes root");
        }
        chmod(&pin, mode);
        let mut doctor = without_signer(&bench, "signer.sock");
        Findings::of(&mut doctor).has(state, "config", what, cure);
    };
    said(4243, 0o640, "ok", "etc/pin (0640", "");
    said(
        4244,
        0o640,
        "failure",
        "may be read by users other",
        "chmod 600",
    );
    said(
        4243,
        0o644,
        "failure",
        "may be read by users other",
        "chmod 600",
    );
    said(
        0,
        0o600,
        "failure",
        "may not be read by the signer",
        "chmod 640",
    );

    // Whoever writes tedge.toml chooses the file's name, which root may paste into a shell, and any file of root's.
    let odd = bench.write("etc/pin;touch pwned #", "123456");
    chmod(&odd, 0o644);
    let toml = bench.write(
        "etc/tedge/tedge.toml",
        "[device.cryptoki]\nuri = \"pkcs11:token=device?pin-source=file:/etc/pin%3Btouch%20pwned%20%23\"\n",
    );
    let doctor = || Findings::of(&mut without_signer(&bench, "signer.sock"));
    doctor().failure(
        "config",
        "pwned # (0644",
        "etc/pin;touch pwned #', and change",
    );
    chmod(&toml, 0o664);
    doctor().failure("config", "pwned # (0644", "if it is the right one");
}
