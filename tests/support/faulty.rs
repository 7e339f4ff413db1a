//! SoftHSM2 behind a module that misbehaves on command (tests/faulty-module), and the signer on it.

use std::process::Command;

use rustix::process::Signal;
use tedge_p11_client::SocketKey;

use crate::hsm::PIN;
use crate::{Hsm, Kind, Signer, program};

/// Codes that say, or may mean, that what is kept of the token is not good any more.
pub const CODES: [&str; 14] = [
    "CKR_SESSION_HANDLE_INVALID",
    "CKR_SESSION_CLOSED",
    "CKR_KEY_HANDLE_INVALID",
    "CKR_OBJECT_HANDLE_INVALID",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_DEVICE_ERROR",
    "CKR_DEVICE_REMOVED",
    "CKR_DEVICE_MEMORY",
    "CKR_HOST_MEMORY",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_GENERAL_ERROR",
    "CKR_FUNCTION_FAILED",
    "CKR_OPERATION_ACTIVE",
    NOT_INITIALIZED,
];

/// The code that a real module returns for every token, not for one.
pub const NOT_INITIALIZED: &str = "CKR_CRYPTOKI_NOT_INITIALIZED";

/// Only C_Initialize helps.
pub const LOST_INITIALISATION: &str = "C_Finalize return CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize\n\
     * return CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize";

/// The signer on SoftHSM2 with two tokens, `device` and `two`, behind the module that misbehaves.
pub struct Faulty {
    pub signer: Signer,
    pub hsm: Hsm,
}

impl Faulty {
    /// With a P-256 key called `key` on each token.
    pub fn start() -> Self {
        let hsm = Self::tokens();
        for token in ["device", "two"] {
            hsm.create_key_on(token, "key", "p256");
        }
        Self {
            signer: Self::spawn(&hsm),
            hsm,
        }
    }

    /// The two tokens, without keys or a signer.
    pub fn tokens() -> Hsm {
        let hsm = Hsm::start(Kind::SoftHsm);
        hsm.add_token("two");
        std::fs::write(hsm.file("control"), "").unwrap();
        hsm
    }

    /// The signer's command, without a PIN.
    pub fn command(hsm: &Hsm) -> Command {
        let mut command = Signer::command(hsm, &program("libfaulty_module.so"));
        command
            .env("FAULTY_MODULE", hsm.module())
            .env("FAULTY_CONTROL", hsm.file("control"))
            .env("FAULTY_LOG", hsm.file("calls.log"));
        command
    }

    /// One more signer on the same tokens.
    pub fn spawn(hsm: &Hsm) -> Signer {
        Signer::spawn(hsm, Self::command(hsm).args(["--pin", PIN]))
    }

    /// Ends the signer, and starts one on the same tokens with these arguments; it keeps the PINs that were
    /// refused if `keeps` says so.
    pub fn restart(&mut self, args: &[&str], keeps: bool) {
        self.signer.signal(Signal::TERM);
        self.signer.wait();
        let mut command = Self::command(&self.hsm);
        if keeps {
            command.env("STATE_DIRECTORY", self.hsm.dir.path());
        }
        self.signer = Signer::spawn(&self.hsm, command.args(args));
    }

    /// From now on, the module misbehaves like this.
    pub fn rules(&self, rules: &str) {
        let new = self.hsm.file("control.new");
        std::fs::write(&new, rules).unwrap();
        std::fs::rename(new, self.hsm.file("control")).unwrap();
    }

    /// How often a function was called so far.
    pub fn calls(&self, function: &str) -> usize {
        let log = std::fs::read_to_string(self.hsm.file("calls.log")).unwrap();
        log.lines()
            .filter(|line| line.split(' ').next() == Some(function))
            .count()
    }

    /// How often a token was tried with a wrong PIN.
    pub fn refused_logins(&self) -> usize {
        let log = std::fs::read_to_string(self.hsm.file("calls.log")).unwrap();
        log.lines()
            .filter(|line| line.starts_with("C_Login ") && line.contains(" CKR_PIN_INCORRECT "))
            .count()
    }

    /// The key called `key` on a token.
    pub fn key(&self, token: &str) -> SocketKey {
        self.signer.key(key_uri(token))
    }
}

/// The URI of the key called `key` on a token.
pub fn key_uri(token: &str) -> String {
    format!("pkcs11:token={token};object=key")
}
