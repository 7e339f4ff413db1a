//! `make bench`: what the signer costs, against a process that does the same without it. What is compared is
//! measured in turns in one run; every signature is verified after its measurement. A target that is missed
//! is told, and is no failure: a figure says as much about the machine.

mod bridge;
mod counted;
mod fairness;
mod handshakes;
mod key_exchange;
mod load;
mod memory;
mod module_key;
mod objects;
mod post_quantum;
mod programs;
mod rates;
mod session;
mod size;
mod solo;
mod startup;
mod target;
mod task;
mod turns;
mod way;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use support::Kind;

use crate::target::Target;
use crate::task::Task;

/// Compares the signer with processes that do without it.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds of each measurement of a rate
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often each measurement is made, in turns with the others
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of clients for the rates of signatures
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    clients: Vec<usize>,
    /// Socket of another signer of the same token, to be measured too; the token of the first HSM is
    /// then not made here: give --hsm and the environment of its module
    #[arg(long)]
    socket: Option<PathBuf>,
    /// HSMs for the rates of signatures; all else is measured on SoftHSM2
    #[arg(long, value_delimiter = ',', default_values = ["softhsm", "tpm2"])]
    hsm: Vec<String>,
    /// Types of keys for the rates of signatures
    #[arg(long, value_delimiter = ',', default_values = ["p256", "rsa2048"])]
    keys: Vec<String>,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Section::value_variants().to_vec())]
    only: Vec<Section>,
    /// Where the results go as JSON
    #[arg(long, default_value = "target/bench.json")]
    output: PathBuf,
    /// Used by this program itself: does what a process of its own is for
    #[arg(long, hide = true)]
    task: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Signatures a second
    Rates,
    /// What a user waits for beside a greedy one
    Fairness,
    /// The rate with many objects on the token
    Objects,
    /// TLS handshakes a second
    Handshakes,
    /// What X25519MLKEM768 costs against X25519
    KeyExchange,
    /// The signer's memory
    Memory,
    /// The time to the first signature
    Startup,
    /// The size of the signer's file
    Size,
    /// What our PKCS#11 module costs a program, against the token's own
    Programs,
    /// Messages a second through the bridge
    Bridge,
    /// Handshakes with ML-DSA keys
    PostQuantum,
}

/// What is written as JSON.
#[derive(Default, Serialize)]
struct Report {
    rates: Vec<rates::Row>,
    fairness: Vec<fairness::Row>,
    objects: Option<objects::Result>,
    handshakes: Vec<handshakes::Row>,
    key_exchange: Vec<key_exchange::Row>,
    memory: Option<memory::Result>,
    startup: Option<startup::Result>,
    size_bytes: Option<u64>,
    programs: Option<programs::Result>,
    bridge: Option<bridge::Result>,
    post_quantum: Vec<post_quantum::Row>,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(task) = &args.task {
        return serde_json::from_str::<Task>(task)?.run();
    }
    ensure!(args.rounds > 0, "--rounds must be 1 or more");
    let mut report = Report::default();
    let targets = &mut report.targets;
    for section in &args.only {
        match section {
            Section::Rates => report.rates = rates::run(&args, targets)?,
            Section::Fairness => report.fairness = fairness::run(&args, targets)?,
            Section::Objects => report.objects = Some(objects::run(&args, targets)?),
            Section::Handshakes => report.handshakes = handshakes::run(&args, targets)?,
            Section::KeyExchange => report.key_exchange = key_exchange::run(&args, targets)?,
            Section::Memory => report.memory = Some(memory::run(&args, targets)?),
            Section::Startup => report.startup = Some(startup::run(&args, targets)?),
            Section::Size => report.size_bytes = Some(size::run(targets)?),
            Section::Programs => report.programs = Some(programs::run(&args, targets)?),
            Section::Bridge => report.bridge = Some(bridge::run(&args, targets)?),
            Section::PostQuantum => report.post_quantum = post_quantum::run(&args)?,
        }
    }
    target::print_summary(&report.targets);
    let output = &args.output;
    if let Some(dir) = output.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(output, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("cannot write {}", output.display()))?;
    println!("written to {}", output.display());
    Ok(())
}

impl Args {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Rounds and their duration for ways whose rates are close to each other: more and shorter ones, in the
    /// same time.
    #[allow(clippy::cast_precision_loss)]
    fn fine_rounds(&self) -> (usize, Duration) {
        (self.rounds * SLICES, self.duration().div_f64(SLICES as f64))
    }

    fn kinds(&self) -> anyhow::Result<Vec<Kind>> {
        let kind = |name: &String| match name.as_str() {
            "softhsm" => Ok(Kind::SoftHsm),
            "tpm2" => Ok(Kind::Tpm2),
            other => anyhow::bail!("unknown HSM {other}: softhsm or tpm2"),
        };
        self.hsm.iter().map(kind).collect()
    }
}

const SLICES: usize = 5;
