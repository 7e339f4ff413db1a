//! Threads that sign as fast as they can, and what came of it.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

/// What a number of clients got in a time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measurement {
    /// Signatures made, all verified.
    pub signatures: usize,
    /// Signatures a second.
    pub rate: f64,
    /// Waits in microseconds.
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    pub mean_us: f64,
    /// CPU of the clients' process a signature, in microseconds.
    pub client_cpu_us: f64,
}

impl Measurement {
    /// The mean of several, the worst for the maximum.
    pub fn merge(all: &[Self]) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let mean = |field: fn(&Self) -> f64| all.iter().map(field).sum::<f64>() / all.len() as f64;
        Self {
            signatures: all.iter().map(|m| m.signatures).sum(),
            rate: mean(|m| m.rate),
            p50_us: mean(|m| m.p50_us),
            p90_us: mean(|m| m.p90_us),
            p99_us: mean(|m| m.p99_us),
            max_us: all.iter().map(|m| m.max_us).fold(0.0, f64::max),
            mean_us: mean(|m| m.mean_us),
            client_cpu_us: mean(|m| m.client_cpu_us),
        }
    }
}

/// Lets each of `clients` sign for `duration`, all from the same moment on, then has `verify` judge
/// every signature. A client is given a message and returns its signature.
pub fn run<C>(
    clients: Vec<C>,
    duration: Duration,
    verify: impl Fn(&[u8], &[u8]) -> bool + Sync,
) -> anyhow::Result<Measurement>
where
    C: FnMut(&[u8]) -> anyhow::Result<Vec<u8>> + Send,
{
    let barrier = Barrier::new(clients.len() + 1);
    let (done, elapsed, cpu) = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, mut sign)| {
                let barrier = &barrier;
                scope.spawn(move || -> anyhow::Result<Vec<Signed>> {
                    let mut done = Vec::new();
                    // The first signature finds the key and opens the session.
                    let warm_up = sign(b"warm-up");
                    barrier.wait();
                    warm_up?;
                    let started = Instant::now();
                    while started.elapsed() < duration {
                        let message = format!("{number} {}", done.len()).into_bytes();
                        let begun = Instant::now();
                        let signature = sign(&message)?;
                        done.push((message, signature, begun.elapsed()));
                    }
                    Ok(done)
                })
            })
            .collect();
        barrier.wait();
        let (started, cpu) = (Instant::now(), cpu_of(std::process::id()));
        let done: Result<Vec<_>, _> = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect();
        let elapsed = started.elapsed();
        anyhow::Ok((done?, elapsed, cpu_of(std::process::id())? - cpu?))
    })?;
    let done: Vec<Signed> = done.into_iter().flatten().collect();
    for (message, signature, _) in &done {
        anyhow::ensure!(verify(message, signature), "a signature is wrong");
    }
    let mut waits: Vec<_> = done
        .iter()
        .map(|(_, _, wait)| wait.as_secs_f64() * 1e6)
        .collect();
    waits.sort_by(f64::total_cmp);
    let last = waits
        .len()
        .checked_sub(1)
        .context("no signature was made")?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let percentile = |p: f64| waits[(last as f64 * p) as usize];
    #[allow(clippy::cast_precision_loss)]
    let count = waits.len() as f64;
    Ok(Measurement {
        signatures: waits.len(),
        rate: count / elapsed.as_secs_f64(),
        p50_us: percentile(0.5),
        p90_us: percentile(0.9),
        p99_us: percentile(0.99),
        max_us: waits[last],
        mean_us: waits.iter().sum::<f64>() / count,
        client_cpu_us: cpu * 1e6 / count,
    })
}

/// CPU seconds that a process has used, its ended threads included; in ticks of 10 ms.
pub fn cpu_of(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may have blanks: state is the first, utime the 12th, stime the 13th.
    let fields = stat.rsplit(')').next().context("stat")?;
    let ticks = |at: usize| -> anyhow::Result<f64> {
        let field = fields.split_whitespace().nth(at).context("stat")?;
        Ok(field.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Message, signature, how long it took.
type Signed = (Vec<u8>, Vec<u8>, Duration);
