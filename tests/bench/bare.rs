//! `bench-bare MODULE PIN LABEL COUNT`: a process that signs with a P-256 key of a PKCS#11 module and does
//! nothing else, with one thread and one session: what `make bench` compares the signer's memory and
//! start-up with. It signs [`MESSAGE`] COUNT times, prints the last signature in hexadecimal and by how many
//! KiB its Rss and Pss grew since before the module was loaded, and stays until its standard input ends.

mod session;

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail};
use cryptoki::object::ObjectClass;

/// `memory.rs` and `startup.rs` verify its signatures.
const MESSAGE: &[u8] = b"bare";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [module, pin, label, count] = args.as_slice() else {
        bail!("usage: bench-bare MODULE PIN LABEL COUNT")
    };
    let before = memory()?;
    let (pkcs11, slot, session) = session::log_in(module.as_ref(), pin)?;
    let key = session::find(&session, ObjectClass::PRIVATE_KEY, label)?;
    let hashes = session::hashes(&pkcs11, slot)?;
    let mut signature = None;
    for _ in 0..count.parse::<usize>()? {
        signature = Some(session::ecdsa(&session, hashes, key, MESSAGE)?);
    }
    let mut stdout = std::io::stdout().lock();
    for byte in signature.context("COUNT is 0")? {
        write!(stdout, "{byte:02x}")?;
    }
    let after = memory()?;
    writeln!(stdout, " {} {}", after[0] - before[0], after[1] - before[1])?;
    stdout.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Rss and Pss of this process in KiB. What it shares with others counts in the second by their number.
fn memory() -> anyhow::Result<[i64; 2]> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let field = |name| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line: &str| line.split_whitespace().next());
        anyhow::Ok(value.context("/proc has changed")?.parse()?)
    };
    Ok([field("Rss:")?, field("Pss:")?])
}
