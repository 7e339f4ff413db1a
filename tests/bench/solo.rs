//! One P-256 key on SoftHSM2, and the two processes that sign with it: the signer, and `bench-bare`, which
//! does without.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey, VerificationAlgorithm,
};
use support::hsm::{LABEL, PIN};
use support::{Hsm, Kind, Signer, program};
use tedge_p11_client::{PrivateKey as _, SignatureScheme};

use crate::way;

pub struct Solo {
    pub hsm: Hsm,
    uri: String,
    public_key: Vec<u8>,
}

/// A `bench-bare` that has signed and stays. It is ended when dropped.
pub struct Bare {
    child: Child,
    /// By how many KiB its Rss and its Pss grew by the module and what it did.
    pub grown_kib: [f64; 2],
}

impl Solo {
    pub fn new() -> Self {
        let hsm = Hsm::start_in(Kind::SoftHsm, &PathBuf::from("/dev/shm"));
        hsm.create_key(KEY, "p256");
        let uri = format!("pkcs11:token={LABEL};object={KEY}");
        let public_key = Signer::start(&hsm).key(&uri).public_key().raw().to_vec();
        Self {
            hsm,
            uri,
            public_key,
        }
    }

    /// Has the signer sign, as its only client.
    pub fn ask(&self, signer: &Signer) -> anyhow::Result<Vec<u8>> {
        let scheme = SignatureScheme::ECDSA_SECP256R1_SHA256;
        way::ask(signer.socket(), &self.uri, scheme, MESSAGE)
    }

    /// Starts a bare process and waits for its signature, the last of `count`.
    pub fn start_bare(&self, count: usize) -> anyhow::Result<(Bare, Vec<u8>)> {
        Self::start_with(
            self.hsm.command(program("bench-bare")),
            &self.hsm.module(),
            count,
        )
    }

    /// The same with our module in place of the token's own.
    pub fn start_behind(
        signer: &Signer,
        module: &Path,
        count: usize,
    ) -> anyhow::Result<(Bare, Vec<u8>)> {
        let mut command = Command::new(program("bench-bare"));
        command.env(SOCKET, signer.socket());
        Self::start_with(command, module, count)
    }

    fn start_with(
        mut command: Command,
        module: &Path,
        count: usize,
    ) -> anyhow::Result<(Bare, Vec<u8>)> {
        let mut child = command
            .arg(module)
            .args([PIN, KEY, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        let mut bare = Bare {
            child,
            grown_kib: [0.0; 2],
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let digits = words.next().context("no signature")?.as_bytes().chunks(2);
        let signature = digits
            .map(|byte| Ok(u8::from_str_radix(std::str::from_utf8(byte)?, 16)?))
            .collect::<anyhow::Result<_>>()?;
        for grown in &mut bare.grown_kib {
            *grown = words.next().context("no memory")?.parse()?;
        }
        Ok((bare, signature))
    }

    /// Fails unless `signature` is one of the signer's.
    pub fn verify(&self, signature: &[u8]) -> anyhow::Result<()> {
        self.verify_with(&ECDSA_P256_SHA256_ASN1, signature)
    }

    /// Fails unless `signature` is one of a bare process.
    pub fn verify_bare(&self, signature: &[u8]) -> anyhow::Result<()> {
        self.verify_with(&ECDSA_P256_SHA256_FIXED, signature)
    }

    fn verify_with(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        signature: &[u8],
    ) -> anyhow::Result<()> {
        let key = UnparsedPublicKey::new(algorithm, &self.public_key);
        let verified = key.verify(MESSAGE, signature);
        ensure!(verified.is_ok(), "a signature is wrong");
        Ok(())
    }
}

impl Bare {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It ends with its standard input, which waiting closes.
        let _ = self.child.wait();
    }
}

/// The variable by which our module finds the signer.
pub const SOCKET: &str = "TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH";
const KEY: &str = "p256";
/// The same in `bare.rs`.
const MESSAGE: &[u8] = b"bare";
