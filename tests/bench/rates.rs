//! How many signatures a second the signer makes, as a share of what one process gets that calls C_Sign
//! itself in kept sessions (the floor).

use std::path::PathBuf;

use serde::Serialize;
use support::{Hsm, Kind, Signer};

use crate::Args;
use crate::load::{self, Measurement};
use crate::target::Target;
use crate::task::Task;
use crate::turns::{Turns, median};
use crate::way::Way;

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    hsm: &'static str,
    key: String,
    clients: usize,
    way: &'static str,
    /// Of the floor's rate in the same run.
    share: f64,
    /// That share is not to be below.
    target: Option<f64>,
    measurement: Measurement,
    /// CPU of the signer a signature.
    server_cpu_us: Option<f64>,
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Vec<Row>> {
    println!("\nsignatures a second, as a share of C_Sign in one process");
    println!(
        "{:8} {:8} {:>7} {:24} {:>9} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "HSM",
        "key",
        "clients",
        "way",
        "rate 1/s",
        "share",
        "target",
        "p50 us",
        "p90 us",
        "p99 us",
        "max us",
        "client us",
        "server us"
    );
    let mut rows = Vec::new();
    for kind in args.kinds()? {
        // On tmpfs if there is one: the token is measured, not the disk.
        let hsm = Hsm::start_in(kind, PathBuf::from("/dev/shm").as_path());
        for key in &args.keys {
            hsm.create_key(key, key);
            let signer = Signer::start(&hsm);
            for clients in &args.clients {
                rows.extend(compare(args, &hsm, &signer, key, *clients, targets)?);
            }
        }
    }
    Ok(rows)
}

fn compare(
    args: &Args,
    hsm: &Hsm,
    signer: &Signer,
    key: &str,
    clients: usize,
    targets: &mut Vec<Target>,
) -> anyhow::Result<Vec<Row>> {
    let mut ways = vec![
        (Way::Floor, hsm.module()),
        (Way::Frames, signer.socket().to_owned()),
        (Way::Library, signer.socket().to_owned()),
    ];
    if let Some(other) = &args.socket {
        ways.push((Way::Other, other.clone()));
    }
    let turns = Turns::measure(ways.len(), args.rounds, |number| {
        let (way, place) = &ways[number];
        let task = Task::Sign {
            way: *way,
            place: place.clone(),
            key: key.to_owned(),
            clients,
            duration: args.duration(),
        };
        let before = load::cpu_of(signer.pid())?;
        let measurement = task.measure(hsm)?;
        Ok((measurement, load::cpu_of(signer.pid())? - before))
    })?;
    let floor_cpu = turns.median(0, |(m, _)| m.client_cpu_us);
    let hsm_name = name(hsm.kind);
    let what = |what: &str| format!("{hsm_name} {key}, clients: {clients}: {what}");
    let rows = ways.iter().enumerate().map(|(number, (way, _))| {
        let results = turns.of(number);
        let measurements: Vec<_> = results.iter().map(|(m, _)| m.clone()).collect();
        let share = turns.ratio(number, |(m, _)| m.rate);
        let server_cpu_us =
            matches!(way, Way::Frames | Way::Library).then(|| server_cpu(results, clients));
        let target = (*way == Way::Frames)
            .then(|| least_share(hsm.kind, key, clients))
            .flatten();
        if let Some(target) = target {
            targets.push(Target::at_least(
                what("share of C_Sign's rate"),
                share * 100.0,
                target * 100.0,
                "%",
            ));
        }
        if let (Way::Frames, 1, Some(cpu)) = (way, clients, server_cpu_us) {
            let of_floor = cpu / floor_cpu;
            targets.push(Target::at_most(
                what("signer's CPU a signature, of C_Sign's"),
                of_floor,
                2.0,
                "times",
            ));
        }
        if (*way, clients, hsm.kind) == (Way::Frames, 64, Kind::Tpm2) {
            let unfairness = median(measurements.iter().map(|m| m.p99_us / m.mean_us));
            targets.push(Target::at_most(
                what("p99 of the mean wait"),
                unfairness,
                1.3,
                "times",
            ));
        }
        let row = Row {
            hsm: hsm_name,
            key: key.to_owned(),
            clients,
            way: way.name(),
            share,
            target,
            measurement: Measurement::merge(&measurements),
            server_cpu_us,
        };
        print(&row);
        row
    });
    Ok(rows.collect())
}

/// What is aimed at with frames, as a share of C_Sign's rate.
fn least_share(hsm: Kind, key: &str, clients: usize) -> Option<f64> {
    match (hsm, key, clients) {
        (Kind::SoftHsm, "p256", 1) => Some(0.5),
        (Kind::SoftHsm, "p256", 4 | 16) => Some(0.75),
        (Kind::SoftHsm, "p256", 64) => Some(0.7),
        (Kind::SoftHsm, "rsa2048", 1) => Some(0.85),
        (Kind::SoftHsm, "rsa2048", 4 | 16 | 64) => Some(0.95),
        (Kind::Tpm2, "p256" | "rsa2048", 1 | 4 | 16 | 64) => Some(0.97),
        _ => None,
    }
}

/// Of all rounds together, since a process's CPU time is told in steps of 10 ms. Each client signs once
/// more before its measurement begins.
fn server_cpu(results: &[(Measurement, f64)], clients: usize) -> f64 {
    let seconds: f64 = results.iter().map(|(_, cpu)| cpu).sum();
    let signatures: usize = results.iter().map(|(m, _)| m.count + clients).sum();
    #[allow(clippy::cast_precision_loss)]
    let cpu = seconds * 1e6 / signatures as f64;
    cpu
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::SoftHsm => "softhsm",
        Kind::Tpm2 => "tpm2",
        Kind::Piv => "piv",
        Kind::ScHsm => "sc-hsm",
        Kind::Kryoptic => "kryoptic",
    }
}

fn print(row: &Row) {
    let m = &row.measurement;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    println!(
        "{:8} {:8} {:>7} {:24} {:>9.0} {:>5.1}% {:>6} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9}",
        row.hsm,
        row.key,
        row.clients,
        row.way,
        m.rate,
        row.share * 100.0,
        or_none(row.target.map(|least| format!(">={:.0}%", least * 100.0))),
        m.p50_us,
        m.p90_us,
        m.p99_us,
        m.max_us,
        m.client_cpu_us,
        or_none(row.server_cpu_us.map(|us| format!("{us:.0}")))
    );
}
