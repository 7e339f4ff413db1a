//! `tedge-hsm status --metrics` and the alerts in docs/prometheus, judged by promtool, of Debian's package prometheus.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Ca, Hsm, Kind, Signer, program, repository, succeed};

fn has_promtool() -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        println!("skipped: promtool, of Debian's package prometheus, is not here");
    }
    found
}

/// Has promtool look at a file of metrics: neither an error nor a word of advice.
fn judge(file: &Path) {
    if has_promtool() {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]);
        let output = promtool.stdin(File::open(file).unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn what_is_written_is_what_prometheus_reads() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start(&hsm);
    let ca = Ca::new();
    let csr = ["csr", "--common-name", "device-1", "--uri", &uri];
    let issued = ca.issue("device-1", &succeed(signer.tedge_hsm().args(csr)));
    std::fs::create_dir(hsm.file("device-certs")).unwrap();
    let cert = hsm.file("device-certs/tedge-certificate.pem");
    std::fs::copy(issued, &cert).unwrap();
    let beside = |suffix: &str, text: &str| {
        let path = format!("{}{suffix}", cert.display());
        std::fs::write(path, text).unwrap();
    };
    beside(
        ".renewal",
        r#"{"renewed": 1795432476, "tried": 1795432490, "failures": 3, "error": "no\n# TYPE"}"#,
    );
    beside(
        ".rotation",
        r#"{"step": "try", "since": 9, "old_key": "pkcs11:id=%01", "new_key": "pkcs11:id=%02", "key_type": "p256",
            "found_by_default": true, "error": "no"}"#,
    );
    let prom = hsm.file("tedge-hsm.prom");
    let write = |mut command: Command| {
        command.env("TEDGE_CONFIG_DIR", hsm.dir.path());
        succeed(command.args(["status", "--metrics"]).arg(&prom));
        judge(&prom);
        std::fs::read_to_string(&prom).unwrap()
    };
    let text = write(signer.tedge_hsm());
    for line in [
        "tedge_hsm_signer_up 1",
        "tedge_hsm_signer_signatures_total 1",
        "tedge_hsm_renewal_success_timestamp_seconds 1795432476",
        "tedge_hsm_renewal_failures 3",
        "tedge_hsm_rotation_active 1",
        "tedge_hsm_rotation_step_timestamp_seconds{step=\"try\"} 9",
        "tedge_hsm_rotation_failed 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(
        text.contains("tedge_hsm_certificate_not_after_timestamp_seconds "),
        "{text}"
    );
    assert!(
        text.contains(",state=\"ok\"} 1") || text.contains("state=\"ok\"} 1"),
        "{text}"
    );

    // The token has another PIN than the signer.
    drop(signer);
    let signer = Signer::start_with(&hsm, &["--pin", "000000"]);
    support::fail(signer.tedge_hsm().args(csr));
    let text = write(signer.tedge_hsm());
    assert!(text.contains("state=\"wrong\"} 1"), "{text}");
    let json = signer
        .tedge_hsm()
        .args(["status", "--json"])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["tokens"][0]["pin"], "wrong", "{json}");

    // Without a signer it is written all the same, for the alert on it.
    drop(signer);
    let mut command = hsm.command(program("tedge-hsm"));
    command.args(["--socket-path", "/nowhere/signer.sock"]);
    let text = write(command);
    assert!(
        text.contains("tedge_hsm_signer_up 0\n") && text.contains("tedge_hsm_renewal_failures 3")
    );
    assert!(!text.contains("requests_total"), "{text}");
}

#[test]
fn the_alerts_are_rules_and_fire() {
    if !has_promtool() {
        return;
    }
    let promtool = |args: &[&str], file: &Path| {
        let mut promtool = Command::new("promtool");
        let path = repository();
        promtool
            .args(args)
            .arg(file)
            .current_dir(path)
            .stdin(Stdio::null());
        succeed(&mut promtool)
    };
    let rules = repository().join("docs/prometheus/tedge-hsm.rules.yml");
    let said = promtool(&["check", "rules"], &rules);
    assert!(said.contains("SUCCESS: 9 rules found"), "{said}");
    promtool(
        &["test", "rules"],
        &repository().join("tests/metrics/alerts.yml"),
    );
    // Each metric of an alert is one that is written.
    let source = repository().join("rust/tedge-hsm/src/metrics.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let rules = std::fs::read_to_string(rules).unwrap();
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("tedge_hsm_"));
    let mut count = 0;
    for name in names {
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
        count += 1;
    }
    assert!(count >= 9);
}
