//! A token of its own for a test, made by the rigs in tests/hsm.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::signer::{ALL_ALLOWED, POLICY};
use crate::{program, repository, succeed, without_proxy, write_secret};

/// The user PIN of every token.
pub const PIN: &str = "123456";
/// The PIN of every security officer.
pub const SO_PIN: &str = "98765432";
/// The label of the first token.
pub const LABEL: &str = "device";

/// Which HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SoftHSM2.
    SoftHsm,
    /// swtpm behind tpm2-pkcs11.
    Tpm2,
    /// A PIV card behind pcscd and OpenSC; its keys are there from the start.
    Piv,
    /// A SmartCard-HSM, as a Nitrokey HSM 2 is one, behind pcscd and OpenSC.
    ScHsm,
    /// Kryoptic, which has ML-DSA.
    Kryoptic,
}

/// A running HSM with one initialised token, labelled `device`.
pub struct Hsm {
    pub kind: Kind,
    pub dir: TempDir,
    env: Vec<(String, String)>,
    rig: Option<Rig>,
}

/// A script of tests/hsm at work.
struct Rig {
    child: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Hsm {
    pub fn start(kind: Kind) -> Self {
        Self::start_in(kind, &std::env::temp_dir())
    }

    /// With its files in a new folder in `parent`.
    pub fn start_in(kind: Kind, parent: &Path) -> Self {
        Self::try_start_in(kind, parent).unwrap_or_else(|why| panic!("{kind:?} {why}"))
    }

    /// None, and the reason on standard output, where such an HSM can't run.
    pub fn start_if_possible(kind: Kind) -> Option<Self> {
        Self::try_start_in(kind, &std::env::temp_dir())
            .inspect_err(|why| println!("{why} ({kind:?})"))
            .ok()
    }

    /// Fails with `skipped: why`.
    fn try_start_in(kind: Kind, parent: &Path) -> Result<Self, String> {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let name = match kind {
            Kind::SoftHsm => "softhsm",
            Kind::Tpm2 => "tpm2",
            Kind::Piv => "piv",
            Kind::ScHsm => "sc-hsm",
            Kind::Kryoptic => "kryoptic",
        };
        let rig_dir = dir.path().join(name);
        let mut child = Command::new(repository().join("tests/hsm").join(name))
            .arg(&rig_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut rig = Rig {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let line = rig.line();
        if line.starts_with("skipped: ") {
            return Err(line);
        }
        assert_eq!(line, "ready", "tests/hsm/{name} did not start");
        let env = std::fs::read_to_string(rig_dir.join("env")).unwrap();
        let env = env
            .lines()
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        write_files(dir.path());
        let hsm = Self {
            kind,
            dir,
            env,
            rig: Some(rig),
        };
        if matches!(kind, Kind::SoftHsm | Kind::Tpm2 | Kind::Kryoptic) {
            hsm.add_token(LABEL);
        }
        Ok(hsm)
    }

    /// Has the rig obey a command of its own, as `unplug`.
    pub fn order(&mut self, command: &str) {
        let rig = self.rig.as_mut().unwrap();
        writeln!(rig.stdin.as_ref().unwrap(), "{command}").unwrap();
        assert_eq!(rig.line(), "done", "{command}");
    }

    /// An HSM that somebody else runs, without a token yet, found by these variables.
    pub fn with_environment(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path());
        Self {
            kind: Kind::Tpm2,
            dir,
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            rig: None,
        }
    }

    /// Initialises one more token.
    pub fn add_token(&self, label: &str) {
        succeed(
            self.tedge_hsm()
                .args(["init", "--label", label, "--so-pin-file"])
                .arg(self.file("so-pin")),
        );
    }

    /// Makes a key on the first token and returns its URI.
    pub fn create_key(&self, label: &str, key_type: &str) -> String {
        self.create_key_on(LABEL, label, key_type)
    }

    /// Makes a key on a token and returns its URI.
    pub fn create_key_on(&self, token: &str, label: &str, key_type: &str) -> String {
        let uri = format!("pkcs11:token={token}");
        let uri = succeed(self.tedge_hsm().args([
            "create-key",
            "--uri",
            &uri,
            "--label",
            label,
            "--type",
            key_type,
        ]));
        uri.trim_end().to_owned()
    }

    /// tedge-hsm straight on the module, with the PIN.
    pub fn tedge_hsm(&self) -> Command {
        let mut command = self.command(program("tedge-hsm"));
        command.arg("--module-path").arg(self.module());
        // Not --pin-file, which some commands refuse.
        if let Ok(pin) = std::fs::read_to_string(self.file("pin")) {
            command.env("TEDGE_DEVICE_CRYPTOKI_PIN", pin.trim_end());
        }
        command
    }

    /// A program that finds the HSM through its environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        without_proxy(&mut command);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// OpenSC's pkcs11-tool, logged in to the first token.
    pub fn pkcs11_tool(&self, args: &[&str]) -> String {
        self.pkcs11_tool_with_pin(PIN, args)
    }

    /// The same for a token that has another user PIN.
    pub fn pkcs11_tool_with_pin(&self, pin: &str, args: &[&str]) -> String {
        let mut command = self.command("pkcs11-tool");
        command.arg("--module").arg(self.module());
        command.args(["--token-label", LABEL, "--login", "--pin", pin]);
        succeed(command.args(args))
    }

    pub fn module(&self) -> PathBuf {
        self.told("PKCS11_MODULE")
    }

    /// The command of OpenSSL 3.5, which Kryoptic comes with.
    pub fn openssl(&self) -> PathBuf {
        self.told("OPENSSL")
    }

    fn told(&self, name: &str) -> PathBuf {
        let told = self.env.iter().find(|(known, _)| known == name);
        PathBuf::from(&told.unwrap().1)
    }

    /// Path of a file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Rig {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn write_files(dir: &Path) {
    std::fs::write(dir.join(POLICY), ALL_ALLOWED).unwrap();
    write_secret(&dir.join("pin"), PIN);
    write_secret(&dir.join("so-pin"), format!("{SO_PIN}\n"));
}

/// Where Debian has libtpm2_pkcs11.
pub fn tpm2_module() -> PathBuf {
    debian_library("pkcs11/libtpm2_pkcs11.so")
}

/// Where Debian has OpenSC's module.
pub fn opensc_module() -> PathBuf {
    debian_library("opensc-pkcs11.so")
}

fn debian_library(name: &str) -> PathBuf {
    let arch = std::env::consts::ARCH;
    PathBuf::from(format!("/usr/lib/{arch}-linux-gnu/{name}"))
}
