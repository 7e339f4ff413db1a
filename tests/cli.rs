//! The command lines, as cases that a person can read: the sessions in tests/cases. Each is run in an
//! empty folder with a token and a signer of its own; `SNAPSHOTS=overwrite` writes down what it prints
//! now.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use snapbox::{Assert, Data, Redactions};
use support::aws::{self, Aws};
use support::azure::{self, Dps};
use support::cloud::Cloud;
use support::est::EstServer;
use support::hsm::opensc_module;
use support::{Ca, Hsm, Kind, Signer, program, repository};

macro_rules! cases {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(&stringify!($name).replace('_', "-"));
        }
    )*};
}

cases! { certificate_forms certificate_objects certificates commissioning connecting doctor enroll_aws enroll_azure enroll_est keys mistakes pins renewal rotation setup status }

#[test]
fn every_session_is_run() {
    let sessions = std::fs::read_dir(repository().join("tests/cases")).unwrap();
    assert_eq!(sessions.count(), 16, "add it to cases! above");
}

fn run(name: &str) {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = if matches!(name, "certificate-forms" | "certificates" | "renewal") {
        Signer::start_with_default_policy(&hsm)
    } else {
        Signer::start(&hsm)
    };
    let Ok(world) = World::start(name) else {
        return;
    };
    let ca = Ca::new();
    let broker = ["certificate-forms", "connecting", "doctor", "rotation"]
        .contains(&name)
        .then(|| support::Broker::start(&ca));
    let est = ["enroll-est", "renewal", "rotation"]
        .contains(&name)
        .then(|| EstServer::start(&ca));
    let text = |port: Option<u16>| port.map_or_else(|| "1".to_owned(), |port| port.to_string());
    let broker_port = broker.as_ref().map(|broker| broker.port);
    let port = text(est.as_ref().map(EstServer::port).or(broker_port));
    let broker_port = text(broker_port);
    let dir = hsm.file("session");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(ca.certificate(), dir.join("ca.pem")).unwrap();
    std::fs::copy(ca.file("ca.key"), dir.join("ca.key")).unwrap();
    if let Some(world) = &world {
        world.furnish(&dir);
    }
    support::write_secret(&dir.join("pin-file"), support::hsm::PIN);
    support::write_secret(&dir.join("so-pin-file"), support::hsm::SO_PIN);

    let file = repository().join(format!("tests/cases/{name}.console"));
    let session = std::fs::read_to_string(&file).unwrap();
    let mut transcript = String::new();
    for line in session.lines() {
        if line.starts_with("# ") {
            writeln!(transcript, "{line}\n").unwrap();
        } else if let Some(command) = line.strip_prefix("$ ") {
            let mut shell = match &world {
                Some(world) => world.cloud.command(&dir, Path::new("sh")),
                None => hsm.command("sh"),
            };
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
                .env("BROKER_PORT", &broker_port)
                .env("MODULE", hsm.module())
                .env("OPENSC", opensc_module())
                .env(
                    "DROPINS",
                    repository().join("dist/tedge-p11-server/dropins"),
                )
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
    if port != "1" {
        redactions.insert("[PORT]", port).unwrap();
    }
    for (name, pattern) in [
        ("[SERIAL]", r"serial=(?<redacted>[0-9a-f]{16})"),
        ("[ID]", r"id=(?<redacted>(%[0-9A-F]{2}){20})"),
        // The broker's OpenSSL has it from 3.5 on.
        (
            "[GROUP]",
            r"(key exchange      |TLS 1.3 with )(?<redacted>X25519MLKEM768|x25519)",
        ),
        ("[SERIAL]", r#""serial": "(?<redacted>[0-9a-f]{16})""#),
        ("[SLOT]", r#"(slot |"slot": )(?<redacted>[0-9]{4,})"#),
        (
            "[DATE]",
            r"(?<redacted>20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z)",
        ),
        ("[HEX]", r"(?<redacted>([0-9A-F]{2}:){9,}[0-9A-F]{2})"),
        (
            "[DAYS]",
            r#"(?<redacted>[0-9]+)( days (left|ago)| more days|,\s+"issuer")"#,
        ),
        ("[TIME]", r"(?<redacted>[0-9]+\.[0-9] ms)"),
        ("[AGE]", r"(?:up |last error  )(?<redacted>[0-9]+ s)"),
        ("[US]", r#""(?:p50|p90|p99|max)": (?<redacted>[0-9]+)"#),
        (
            "[N]",
            r#"(?:now         |connections": )(?<redacted>[0-9]+)"#,
        ),
        ("[S]", r#"_s": (?<redacted>[0-9]+)"#),
        ("[HEX]", r"(?<redacted>[0-9a-f]{38,40})"),
        ("[DATE]", r"(?<redacted>20[0-9T:-]{17}Z)"),
        ("[DATE]", r"until (?<redacted>[0-9TZ:-]+), for"),
        ("[OWNER]", r"\(0[0-7]{3} (?<redacted>[^)]+)\)"),
        ("[USER]", r"user (?<redacted>[^ ]+) may"),
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

/// A cloud, for the sessions about one.
struct World {
    cloud: Cloud,
    _aws: Option<Aws>,
    _dps: Option<Dps>,
}

impl World {
    /// An error, which was told, where there can be none on this machine.
    fn start(name: &str) -> Result<Option<Self>, ()> {
        let cloud = match name {
            "enroll-aws" => Cloud::start(&[aws::ENDPOINT]),
            "enroll-azure" => Cloud::start_with(&[azure::ENDPOINT, azure::HUB], "TLSv1.2"),
            _ => return Ok(None),
        };
        let cloud = cloud.ok_or(())?;
        Ok(Some(Self {
            _aws: (name == "enroll-aws").then(|| Aws::start(&cloud)),
            _dps: (name == "enroll-azure").then(|| Dps::start(&cloud)),
            cloud,
        }))
    }

    /// `ca.pem` and `ca.key` issue the certificates of devices, and `claim.pem` is one of them; `server-ca.pem` has
    /// issued that of the cloud.
    fn furnish(&self, dir: &Path) {
        let ca = &self.cloud.client_ca;
        ca.make_key("claim", &["-out", "claim.csr"]);
        let csr = std::fs::read_to_string(ca.file("claim.csr")).unwrap();
        ca.issue("claim", &csr);
        for name in ["ca.pem", "ca.key", "claim.pem", "claim.key"] {
            std::fs::copy(ca.file(name), dir.join(name)).unwrap();
        }
        let server_ca = self.cloud.server_ca.certificate();
        std::fs::copy(server_ca, dir.join("server-ca.pem")).unwrap();
    }
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
