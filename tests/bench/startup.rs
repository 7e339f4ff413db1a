//! From exec to the first signature: of the signer, for a client; and of a process that signs itself.

use std::time::{Duration, Instant};

use serde::Serialize;
use support::Signer;
use support::hsm::PIN;

use crate::Args;
use crate::solo::Solo;
use crate::target::Target;
use crate::turns::Turns;

#[derive(Serialize)]
pub struct Result {
    signer_ms: f64,
    bare_ms: f64,
    ratio: f64,
}

/// The client connects when the signer says READY=1.
pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Result> {
    let solo = Solo::new();
    let turns = Turns::measure(2, args.rounds * STARTS, |number| {
        if number == 0 {
            let started = Instant::now();
            let (_bare, signature) = solo.start_bare(1)?;
            let elapsed = started.elapsed();
            solo.verify_bare(&signature)?;
            Ok(elapsed)
        } else {
            let mut command = Signer::command(&solo.hsm, &solo.hsm.module());
            command.args(["--pin", PIN]);
            let started = Instant::now();
            let signer = Signer::spawn(&solo.hsm, &mut command);
            let signature = solo.ask(&signer)?;
            let elapsed = started.elapsed();
            solo.verify(&signature)?;
            Ok(elapsed)
        }
    })?;
    let [bare_ms, signer_ms] =
        [0, 1].map(|way| turns.median(way, |elapsed| elapsed.as_secs_f64() * 1e3));
    let ratio = turns.ratio(1, Duration::as_secs_f64);
    println!("\nfrom exec to the first signature (SoftHSM2, P-256)");
    println!("{:20} {bare_ms:>7.1} ms", "C_Sign, bare process");
    println!(
        "{:20} {signer_ms:>7.1} ms  {ratio:.2} times  <=1.5",
        "signer"
    );
    targets.push(Target::at_most(
        "signer's time to the first signature, of a bare process's".to_owned(),
        ratio,
        1.5,
        "times",
    ));
    Ok(Result {
        signer_ms,
        bare_ms,
        ratio,
    })
}

/// In each round: one start is over in some milliseconds.
const STARTS: usize = 5;
