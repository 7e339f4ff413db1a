//! Anonymous memory of the signer, against that of a process that signs itself.

use anyhow::Context as _;
use serde::Serialize;
use support::Signer;

use crate::Args;
use crate::solo::Solo;
use crate::target::Target;
use crate::turns::Turns;

#[derive(Serialize)]
pub struct Result {
    signatures: usize,
    signer: Process,
    bare: Process,
    /// The signer's memory by the bare process's.
    ratio: f64,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Process {
    pub(crate) anonymous_kib: f64,
    threads: f64,
}

/// Every round starts both processes anew.
pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Result> {
    let solo = Solo::new();
    let turns = Turns::measure(2, args.rounds, |number| {
        if number == 0 {
            let (bare, signature) = solo.start_bare(SIGNATURES)?;
            solo.verify_bare(&signature)?;
            Process::read(bare.pid())
        } else {
            let signer = Signer::start(&solo.hsm);
            for _ in 0..SIGNATURES {
                solo.verify(&solo.ask(&signer)?)?;
            }
            Process::read(signer.pid())
        }
    })?;
    let [bare, signer] = [0, 1].map(|way| Process {
        anonymous_kib: turns.median(way, |process| process.anonymous_kib),
        threads: turns.median(way, |process| process.threads),
    });
    let ratio = turns.ratio(1, |process| process.anonymous_kib);
    println!("\nanonymous memory after {SIGNATURES} signatures (SoftHSM2, P-256, 1 client)");
    println!(
        "{:20} {:>7.0} KiB  {} threads",
        "C_Sign, bare process", bare.anonymous_kib, bare.threads
    );
    println!(
        "{:20} {:>7.0} KiB  {} threads  {ratio:.2} times  <=1.2",
        "signer", signer.anonymous_kib, signer.threads
    );
    targets.push(Target::at_most(
        "signer's anonymous memory, of a bare process's".to_owned(),
        ratio,
        1.2,
        "times",
    ));
    Ok(Result {
        signatures: SIGNATURES,
        signer,
        bare,
        ratio,
    })
}

impl Process {
    /// `smaps_rollup` is exact, but of a process that can't be dumped, as the signer, only root may read it.
    /// RssAnon is up to some 100 KiB off (`/proc/PID/status` in proc(5)).
    pub(crate) fn read(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let anonymous = match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            Ok(rollup) => field(&rollup, "Anonymous:"),
            Err(_) => field(&status, "RssAnon:"),
        };
        Ok(Self {
            anonymous_kib: anonymous?,
            threads: field(&status, "Threads:")?,
        })
    }
}

fn field(text: &str, name: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    Ok(value.context("/proc has changed")?.parse()?)
}

const SIGNATURES: usize = 1000;
