//! `make bench`: how many signatures a second the signer makes, as a share of what one process gets
//! that calls C_Sign itself in kept sessions (the floor). All are measured in turns in one run; every
//! signature is verified after its measurement.

mod load;
mod way;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde::Serialize;
use support::hsm::{LABEL, PIN};
use support::{Hsm, Kind, Signer};

use crate::load::Measurement;
use crate::way::Way;

/// Compares the signer's rate with that of C_Sign in one process.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often each measurement is made, in turns with the others
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    clients: Vec<usize>,
    /// Socket of another signer of the same token, to be measured too; the token of the first HSM is
    /// then not made here: give --hsm and the environment of its module
    #[arg(long)]
    socket: Option<PathBuf>,
    /// HSMs to measure
    #[arg(long, value_delimiter = ',', default_values = ["softhsm", "tpm2"])]
    hsm: Vec<String>,
    /// Types of keys to measure
    #[arg(long, value_delimiter = ',', default_values = ["p256", "rsa2048"])]
    keys: Vec<String>,
    /// Where the results go as JSON
    #[arg(long, default_value = "target/bench.json")]
    output: PathBuf,
    /// Used by this program itself: measures one way and prints the result
    #[arg(long, hide = true, num_args = 4)]
    measure: Option<Vec<String>>,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    hsm: String,
    key: String,
    clients: usize,
    way: &'static str,
    /// Of the floor's rate in the same run.
    share: f64,
    measurement: Measurement,
    /// CPU of the signer a signature.
    server_cpu_us: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(task) = &args.measure {
        return measure_here(task, &args);
    }
    let mut rows = Vec::new();
    println!(
        "{:8} {:8} {:>7} {:24} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "HSM",
        "key",
        "clients",
        "way",
        "rate 1/s",
        "share",
        "p50 us",
        "p90 us",
        "p99 us",
        "max us",
        "client us",
        "server us"
    );
    for name in &args.hsm {
        let kind = match name.as_str() {
            "softhsm" => Kind::SoftHsm,
            "tpm2" => Kind::Tpm2,
            other => anyhow::bail!("unknown HSM {other}: softhsm or tpm2"),
        };
        // On tmpfs if there is one: the token is measured, not the disk.
        let hsm = Hsm::start_in(kind, PathBuf::from("/dev/shm").as_path());
        for key in &args.keys {
            hsm.create_key(key, key);
            let signer = Signer::start(&hsm);
            for clients in &args.clients {
                rows.extend(compare(&args, &hsm, &signer, name, key, *clients)?);
            }
        }
    }
    if let Some(dir) = args.output.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(&args.output, serde_json::to_vec_pretty(&rows)?)?;
    println!("written to {}", args.output.display());
    Ok(())
}

fn compare(
    args: &Args,
    hsm: &Hsm,
    signer: &Signer,
    hsm_name: &str,
    key: &str,
    clients: usize,
) -> anyhow::Result<Vec<Row>> {
    let mut ways = vec![
        (Way::Floor, hsm.module()),
        (Way::Frames, signer.socket().to_owned()),
        (Way::Library, signer.socket().to_owned()),
    ];
    if let Some(other) = &args.socket {
        ways.push((Way::Other, other.clone()));
    }
    let mut results: Vec<(Vec<Measurement>, f64)> = vec![(Vec::new(), 0.0); ways.len()];
    for _ in 0..args.rounds {
        for ((way, place), (measurements, server_cpu)) in ways.iter().zip(&mut results) {
            let before = load::cpu_of(signer.pid())?;
            let output = hsm
                .command(std::env::current_exe()?)
                .arg("--seconds")
                .arg(args.seconds.to_string())
                .args(["--measure", way.name()])
                .arg(place)
                .args([key, &clients.to_string()])
                .stderr(Stdio::inherit())
                .output()?;
            ensure!(output.status.success(), "{} failed", way.name());
            measurements.push(serde_json::from_slice(&output.stdout)?);
            *server_cpu += load::cpu_of(signer.pid())? - before;
        }
    }
    let merged: Vec<_> = results
        .into_iter()
        .map(|(measurements, cpu)| (Measurement::merge(&measurements), cpu))
        .collect();
    let floor = merged[0].0.rate;
    let rows = ways
        .iter()
        .zip(merged)
        .map(|((way, _), (measurement, cpu))| {
            #[allow(clippy::cast_precision_loss)]
            let server_cpu_us = matches!(way, Way::Frames | Way::Library)
                .then(|| cpu * 1e6 / measurement.signatures as f64);
            let row = Row {
                hsm: hsm_name.to_owned(),
                key: key.to_owned(),
                clients,
                way: way.name(),
                share: measurement.rate / floor,
                measurement,
                server_cpu_us,
            };
            print(&row);
            row
        });
    Ok(rows.collect())
}

/// In a process of its own, so that its CPU time is that of the clients.
fn measure_here(task: &[String], args: &Args) -> anyhow::Result<()> {
    let [way, place, key, clients] = task else {
        anyhow::bail!("--measure takes four values")
    };
    let way = Way::from_name(way).context("unknown way")?;
    let uri = format!("pkcs11:token={LABEL};object={key}");
    let duration = Duration::from_secs_f64(args.seconds);
    let measurement = way.measure(place.as_ref(), &uri, PIN, clients.parse()?, duration)?;
    println!("{}", serde_json::to_string(&measurement)?);
    Ok(())
}

fn print(row: &Row) {
    let m = &row.measurement;
    let server = row
        .server_cpu_us
        .map_or_else(|| "-".to_owned(), |us| format!("{us:.0}"));
    println!(
        "{:8} {:8} {:>7} {:24} {:>9.0} {:>5.0}% {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9}",
        row.hsm,
        row.key,
        row.clients,
        row.way,
        m.rate,
        row.share * 100.0,
        m.p50_us,
        m.p90_us,
        m.p99_us,
        m.max_us,
        m.client_cpu_us,
        server
    );
}
