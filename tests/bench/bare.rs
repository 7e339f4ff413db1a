//! `bench-bare MODULE PIN LABEL COUNT`: a process that signs with a P-256 key of a PKCS#11 module and does
//! nothing else, with one thread and one session: what `make bench` compares the signer's memory and
//! start-up with. It signs [`MESSAGE`] COUNT times, prints the last signature in hexadecimal, and stays until
//! its standard input ends.

mod session;

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectClass;
use ring::digest::{SHA256, digest};

/// `memory.rs` and `startup.rs` verify its signatures.
const MESSAGE: &[u8] = b"bare";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [module, pin, label, count] = args.as_slice() else {
        bail!("usage: bench-bare MODULE PIN LABEL COUNT")
    };
    let (_pkcs11, _, session) = session::log_in(module.as_ref(), pin)?;
    let key = session::find(&session, ObjectClass::PRIVATE_KEY, label)?;
    let digest = digest(&SHA256, MESSAGE);
    let mut signature = None;
    for _ in 0..count.parse::<usize>()? {
        signature = Some(session.sign(&Mechanism::Ecdsa, key, digest.as_ref())?);
    }
    let mut stdout = std::io::stdout().lock();
    for byte in signature.context("COUNT is 0")? {
        write!(stdout, "{byte:02x}")?;
    }
    writeln!(stdout)?;
    stdout.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
