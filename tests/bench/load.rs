//! Threads that sign, or connect, as fast as they can, and what came of it.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::turns::median;

/// What a number of clients got in a time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measurement {
    /// Signatures or handshakes made, all verified.
    pub count: usize,
    /// A second.
    pub rate: f64,
    /// Waits in microseconds. Those of the first signatures, which all clients ask for at the same moment,
    /// are left out: they would be those of a queue that is not there yet.
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    pub mean_us: f64,
    /// CPU of the clients' process for one, in microseconds.
    pub client_cpu_us: f64,
}

impl Measurement {
    /// The median of several, the worst for the maximum.
    pub fn merge(all: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(all.iter().map(field));
        Self {
            count: all.iter().map(|m| m.count).sum(),
            rate: of(|m| m.rate),
            p50_us: of(|m| m.p50_us),
            p90_us: of(|m| m.p90_us),
            p99_us: of(|m| m.p99_us),
            max_us: all.iter().map(|m| m.max_us).fold(0.0, f64::max),
            mean_us: of(|m| m.mean_us),
            client_cpu_us: of(|m| m.client_cpu_us),
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
        let (started, cpu) = (Instant::now(), own_cpu());
        let done: Result<Vec<_>, _> = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect();
        let elapsed = started.elapsed();
        anyhow::Ok((done?, elapsed, own_cpu() - cpu))
    })?;
    for (message, signature, _) in done.iter().flatten() {
        anyhow::ensure!(verify(message, signature), "a signature is wrong");
    }
    let total = done.iter().map(Vec::len).sum::<usize>();
    let mut waits: Vec<_> = done
        .iter()
        .flat_map(|of_one| of_one.iter().skip(1))
        .map(|(_, _, wait)| wait.as_secs_f64() * 1e6)
        .collect();
    waits.sort_by(f64::total_cmp);
    let last = waits
        .len()
        .checked_sub(1)
        .context("too short: no client got two signatures")?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let percentile = |p: f64| waits[(last as f64 * p) as usize];
    #[allow(clippy::cast_precision_loss)]
    let (count, counted) = (total as f64, waits.len() as f64);
    Ok(Measurement {
        count: total,
        rate: count / elapsed.as_secs_f64(),
        p50_us: percentile(0.5),
        p90_us: percentile(0.9),
        p99_us: percentile(0.99),
        max_us: waits[last],
        mean_us: waits.iter().sum::<f64>() / counted,
        client_cpu_us: cpu * 1e6 / count,
    })
}

/// CPU seconds that this process has used.
fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss)]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
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
