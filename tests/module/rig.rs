//! SoftHSM2 behind the signer, and programs that use it by the module.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::Signal;
use support::hsm::PIN;
use support::signer::{ALL_ALLOWED, POLICY};
use support::{Hsm, Kind, Signer, program, repository, succeed};

/// SoftHSM2 or another HSM behind the signer, with one key of each type, called like it.
///
/// The signer ends first: what a failed test shows of its log is in the HSM's folder.
pub(crate) struct Rig {
    pub(crate) signer: Signer,
    pub(crate) hsm: Hsm,
}

impl Rig {
    pub(crate) fn start(keys: &[&str]) -> Self {
        Self::start_with_policy(keys, ALL_ALLOWED, &["--pin", PIN])
    }

    pub(crate) fn start_with_policy(keys: &[&str], policy: &str, args: &[&str]) -> Self {
        Self::start_on(Hsm::start(Kind::SoftHsm), keys, policy, args)
    }

    pub(crate) fn start_on(hsm: Hsm, keys: &[&str], policy: &str, args: &[&str]) -> Self {
        for key in keys {
            hsm.create_key(key, key);
        }
        std::fs::write(hsm.file(POLICY), policy).unwrap();
        let signer = Signer::start_with(&hsm, args);
        Self { signer, hsm }
    }

    /// Ends the signer without a warning.
    pub(crate) fn kill_signer(&mut self) {
        self.signer.signal(Signal::KILL);
        self.signer.wait();
        std::fs::remove_file(self.signer.socket()).unwrap();
    }

    /// A program that finds the signer's socket.
    pub(crate) fn uses(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", self.signer.socket());
        command
    }

    pub(crate) fn pkcs11_tool(&self, args: &[&str]) -> Command {
        let mut command = self.uses("pkcs11-tool");
        command.arg("--module").arg(module()).args(args);
        command
    }

    /// Has pkcs11-tool sign a file of the test into another, `signature`.
    pub(crate) fn sign(&self, key: &str, mechanism: &str, file: &str) {
        let id = self.id(key);
        let mut tool = self.pkcs11_tool(&["--sign", "-m", mechanism, "--id", &id]);
        if mechanism.starts_with("ECDSA") {
            tool.args(["--signature-format", "openssl"]);
        }
        let (input, output) = (self.hsm.file(file), self.hsm.file("signature"));
        succeed(tool.arg("-i").arg(input).arg("-o").arg(output));
    }

    /// `CKA_ID` of a key, in hexadecimal.
    pub(crate) fn id(&self, key: &str) -> String {
        let uri = support::parse_uri(format!("pkcs11:object={key};type=private"));
        self.signer.client().keys(&uri, None).unwrap()[0].id.clone()
    }

    /// A PEM file with the public key.
    pub(crate) fn public_key(&self, key: &str) -> PathBuf {
        let pem = self.hsm.file("public.pem");
        let uri = format!("pkcs11:object={key}");
        let text = succeed(self.signer.tedge_hsm().args(["public-key", "--uri", &uri]));
        std::fs::write(&pem, text).unwrap();
        pem
    }

    pub(crate) fn program_in_c(&self) -> PathBuf {
        let built = self.hsm.file("program");
        succeed(
            Command::new("cc")
                .args([
                    "-std=gnu11",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-I/usr/include/p11-kit-1",
                    "-o",
                ])
                .arg(&built)
                .arg(repository().join("tests/module/program.c"))
                .args(["-ldl", "-lpthread"]),
        );
        built
    }
}

pub(crate) fn module() -> PathBuf {
    program("libtedge_p11.so")
}

pub(crate) fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// A token with 1,000 keys, and the program in C that searches them in that way; it waits for lines, and writes some.
pub(crate) fn search_among_a_thousand(way: &str) -> (Rig, Child) {
    // In memory: on a disk it takes minutes to make the keys.
    let hsm = Hsm::start_in(Kind::SoftHsm, Path::new("/dev/shm"));
    let rig = Rig::start_on(hsm, &[], ALL_ALLOWED, &["--pin", PIN]);
    let c = rig.program_in_c();
    let mut makes = rig.hsm.command(&c);
    succeed(makes.arg(rig.hsm.module()).arg("makes").env("PIN", PIN));
    let mut searches = rig.uses(c);
    searches.arg(module()).arg(way);
    let child = searches.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = child.spawn().unwrap();
    (rig, child)
}
