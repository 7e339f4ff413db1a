//! `tedge-hsm doctor` names the cause and the cure. Each test breaks something on purpose, on real parts:
//! SoftHSM2 (wrapped by tests/faulty-module where it can't be broken by itself), a software TPM, the
//! signer, openssl's servers, mosquitto. What belongs to the machine is made up in a folder (--root).
//!
//! | area | broken on purpose |
//! |---|---|
//! | module | its file is missing; it is text; a library that it needs is missing; it is no PKCS#11 module; it hangs |
//! | token | none; a blank one; two, and it is not said which |
//! | PIN | locked; one try left; wrong; wrong before; never changed; not given; in a file that others may read |
//! | key | none; on a token without the mechanism; one that does not sign |
//! | certificate | of another key; expired; not valid yet; soon at its end; for servers only; not in the file |
//! | signer | no socket; nobody listens; no socket but a file; a socket of others |
//! | policy | refuses this user; signs any bytes; a mistake in the file; others may write the file |
//! | config | tedge.toml with a mistake, with a bad URI, with a PIN that all may read, to be written by all |
//! | device | no node; a node of root only; of no group; not for this user; no udev rule; no drop-in; another group |
//! | USB | nothing plugged in; a YubiKey without CCID; no driver for readers |
//! | programs | no module; one that does not load; not known to p11-kit; OpenSSL loads it late, not at all, or another; no provider; another socket; nothing to list |
//! | service | no pcscd; a pcscd that ended; no tee-supplicant |
//! | clock | before the program was made; not synchronised |
//! | broker | nobody listens; no such name; another CA; another name; no TLS 1.3; does not know the certificate |

#[path = "doctor/broker.rs"]
mod broker;
#[path = "doctor/bundle.rs"]
mod bundle;
#[path = "doctor/machine.rs"]
mod machine;
#[path = "doctor/module.rs"]
mod module;
#[path = "doctor/programs.rs"]
mod programs;
#[path = "doctor/signer.rs"]
mod signer;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use support::hsm::PIN;
use support::{Hsm, Kind, Signer, install, program};

/// A token, and a machine around it.
struct Bench {
    hsm: Hsm,
    root: PathBuf,
}

/// What doctor found.
struct Findings(Vec<Finding>);

#[derive(Debug, Deserialize)]
struct Finding {
    area: String,
    state: String,
    what: String,
    cure: Option<String>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Kind::SoftHsm)
    }

    fn with(kind: Kind) -> Self {
        let hsm = Hsm::start(kind);
        chmod(&hsm.file("pin"), 0o600);
        let root = hsm.file("root");
        std::fs::create_dir(&root).unwrap();
        Self { hsm, root }
    }

    /// Writes a file of the machine.
    fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The units of systemd that advice names.
    fn install_units(&self) {
        for unit in [
            "tedge-p11-server.service",
            "pcscd.socket",
            "tee-supplicant@.service",
        ] {
            self.write(&format!("usr/lib/systemd/system/{unit}"), "");
        }
    }

    /// Straight on the module, with the PIN in a file.
    fn straight(&self) -> Command {
        let mut command = self.hsm.command(program("tedge-hsm"));
        command.arg("--module-path").arg(self.hsm.module());
        command.arg("--pin-file").arg(self.hsm.file("pin"));
        self.of(command)
    }

    /// The same by the module that misbehaves as `rules` say.
    fn faulty(&self, rules: &str) -> Command {
        std::fs::write(self.hsm.file("control"), rules).unwrap();
        let mut command = self.hsm.command(program("tedge-hsm"));
        command
            .arg("--module-path")
            .arg(program("libfaulty_module.so"))
            .arg("--pin-file")
            .arg(self.hsm.file("pin"))
            .env("FAULTY_MODULE", self.hsm.module())
            .env("FAULTY_CONTROL", self.hsm.file("control"))
            .env("FAULTY_LOG", self.hsm.file("calls.log"));
        self.of(command)
    }

    /// On another module.
    fn on_module(&self, module: &Path) -> Command {
        let mut command = self.hsm.command(program("tedge-hsm"));
        command.arg("--module-path").arg(module);
        self.of(command)
    }

    /// Through the signer, whose configuration is beside the token.
    fn through(&self, signer: &Signer) -> Command {
        let mut command = self.of(signer.tedge_hsm());
        command.arg("--config-dir").arg(self.hsm.dir.path());
        command
    }

    fn of(&self, mut command: Command) -> Command {
        command
            .args(["doctor", "--json", "--root"])
            .arg(&self.root)
            // Of whoever runs the tests.
            .env_remove("TEDGE_CONFIG_DIR")
            .env_remove("TEDGE_DEVICE_CRYPTOKI_PIN")
            .env_remove("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH")
            .env_remove("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH")
            .env_remove("PCSCLITE_CSOCK_NAME");
        command
    }
}

impl Findings {
    /// Runs doctor; its exit code must be what its findings say.
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let (stdout, stderr) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        let findings: Vec<Finding> = serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{error}: {command:?}: {stdout}{stderr}"));
        let failed = findings.iter().any(|finding| finding.state == "failure");
        assert_eq!(
            output.status.code(),
            Some(i32::from(failed)),
            "{findings:#?}{stderr}"
        );
        assert!(
            !stdout.contains(PIN) && !stderr.contains(PIN),
            "the PIN is told: {stdout}{stderr}"
        );
        for finding in &findings {
            let is_bad = ["failure", "warning"].contains(&finding.state.as_str());
            assert_eq!(is_bad, finding.cure.is_some(), "{finding:?}");
        }
        Self(findings)
    }

    /// Panics unless there is a finding with these parts in its texts.
    fn has(&self, state: &str, area: &str, what: &str, cure: &str) {
        let found = self.0.iter().any(|finding| {
            finding.state == state
                && finding.area == area
                && finding.what.contains(what)
                && finding.cure.as_deref().unwrap_or_default().contains(cure)
        });
        assert!(
            found,
            "no {state} in {area} with {what:?} and {cure:?}: {:#?}",
            self.0
        );
    }

    fn failure(&self, area: &str, what: &str, cure: &str) {
        self.has("failure", area, what, cure);
    }

    fn warning(&self, area: &str, what: &str, cure: &str) {
        self.has("warning", area, what, cure);
    }

    fn ok(&self, area: &str, what: &str) {
        self.has("ok", area, what, "");
    }

    /// Panics if there is a warning or a failure.
    fn are_good(&self) {
        let mut bad = self.0.iter().filter(|finding| finding.cure.is_some());
        assert!(bad.next().is_none(), "{:#?}", self.0);
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// `command` as a user who is nobody in particular; `None`, with a note, if that takes root.
fn as_nobody(command: &Command, dir: &Path) -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: becoming another user takes root");
        return None;
    }
    let copy = install("tedge-hsm", dir);
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    other.arg(copy).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    Some(other)
}

#[test]
fn a_healthy_token_of_either_kind() {
    for kind in [Kind::SoftHsm, Kind::Tpm2] {
        let bench = Bench::with(kind);
        bench.hsm.create_key("tls", "p256");
        let mut command = bench.straight();
        command.args(["--login", "--uri", "pkcs11:token=device"]);
        let findings = Findings::of(&mut command);
        findings.ok("module", "is loaded");
        findings.ok("mechanism", "CKM_ECDSA");
        findings.ok("pin", "logged in");
        findings.ok(
            "key",
            "object=tls;type=private signs, verified: ecdsa_secp256r1_sha256",
        );
        findings.are_good();
    }
}

/// libtpm2_pkcs11 and libtss2 write to standard error themselves: not between the findings.
#[test]
fn what_libraries_write_is_kept_out() {
    let bench = Bench::with(Kind::Tpm2);
    let broken = |mut command: Command| {
        command
            .env("TPM2_PKCS11_TCTI", "device:/nowhere/tpm")
            .env("TSS2_LOG", "all+ERROR");
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let mut list = bench.hsm.tedge_hsm();
    list.arg("list-tokens");
    let written = broken(list);
    assert!(
        written.contains("ERROR"),
        "nothing to be kept out: {written}"
    );
    let mut doctor = bench.hsm.tedge_hsm();
    doctor
        .args(["doctor", "--config-dir", "/nowhere", "--root"])
        .arg(&bench.root);
    let told = broken(doctor);
    let state = |line: &str| {
        let states = ["ok ", "skipped ", "warning ", "failure "];
        states.iter().any(|state| line.starts_with(state))
    };
    let mut others = told.lines().filter(|line| !state(line));
    assert!(
        others.next().is_some_and(|line| line.contains(" checks: ")),
        "{told}"
    );
    assert_eq!(others.next(), None, "{told}");
}
