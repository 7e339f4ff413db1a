//! A token of its own for a test, made by the rigs in tests/hsm.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::signer::{ALL_ALLOWED, POLICY};
use crate::{program, repository, succeed};

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
}

/// A running HSM with one initialised token, labelled `device`.
pub struct Hsm {
    pub kind: Kind,
    pub dir: TempDir,
    env: Vec<(String, String)>,
    rig: Option<Child>,
    /// The rig ends when this is closed.
    stdin: Option<ChildStdin>,
}

impl Hsm {
    pub fn start(kind: Kind) -> Self {
        Self::start_in(kind, &std::env::temp_dir())
    }

    /// With its files in a new folder in `parent`.
    pub fn start_in(kind: Kind, parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let name = match kind {
            Kind::SoftHsm => "softhsm",
            Kind::Tpm2 => "tpm2",
        };
        let rig_dir = dir.path().join(name);
        let mut rig = Command::new(repository().join("tests/hsm").join(name))
            .arg(&rig_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(rig.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "tests/hsm/{name} did not start");
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
            stdin: rig.stdin.take(),
            rig: Some(rig),
        };
        hsm.add_token(LABEL);
        hsm
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
            stdin: None,
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
        command.arg("--pin-file").arg(self.file("pin"));
        command
    }

    /// A program that finds the HSM through its environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
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
        let module = self.env.iter().find(|(name, _)| name == "PKCS11_MODULE");
        PathBuf::from(&module.unwrap().1)
    }

    /// Path of a file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Hsm {
    fn drop(&mut self) {
        self.stdin = None;
        if let Some(rig) = &mut self.rig {
            let _ = rig.wait();
        }
    }
}

fn write_files(dir: &Path) {
    std::fs::write(dir.join(POLICY), ALL_ALLOWED).unwrap();
    std::fs::write(dir.join("pin"), PIN).unwrap();
    std::fs::write(dir.join("so-pin"), format!("{SO_PIN}\n")).unwrap();
}

/// Where Debian has libtpm2_pkcs11.
pub fn tpm2_module() -> PathBuf {
    let arch = std::env::consts::ARCH;
    PathBuf::from(format!(
        "/usr/lib/{arch}-linux-gnu/pkcs11/libtpm2_pkcs11.so"
    ))
}
