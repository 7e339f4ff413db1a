//! What our PKCS#11 module costs a program: the same one with the token's own module is the baseline. Signatures a
//! second, the time from exec to the end of a TLS handshake of OpenSSL's, memory, and the size of the file.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use support::hsm::{LABEL, PIN};
use support::signer::POLICY;
use support::{Ca, Hsm, Kind, Signer, succeed};

use crate::Args;
use crate::handshakes::Server;
use crate::load::Measurement;
use crate::solo::{SOCKET, Solo};
use crate::target::Target;
use crate::task::Task;
use crate::turns::Turns;
use crate::way::Way;

#[derive(Serialize)]
pub struct Result {
    rates: Vec<Rate>,
    /// None without libp11's engine.
    openssl: Option<Handshake>,
    memory: [Memory; 2],
    size_bytes: u64,
}

#[derive(Serialize)]
struct Rate {
    key: String,
    threads: usize,
    /// Of the rate with the token's own module.
    share: f64,
    measurements: [Measurement; 2],
}

/// From exec to what the server says after it.
#[derive(Serialize)]
struct Handshake {
    file_ms: f64,
    straight_ms: f64,
    module_ms: f64,
    /// The last by the one before it.
    ratio: f64,
}

/// What the module and the signatures add to a process.
#[derive(Clone, Copy, Serialize)]
struct Memory {
    rss_kib: f64,
    pss_kib: f64,
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Result> {
    let module = module()?;
    let rates = rates(args, &module)?;
    let openssl = if has_engine() {
        Some(handshakes(args, &module)?)
    } else {
        println!("skipped: openssl has no engine pkcs11 (libengine-pkcs11-openssl)");
        None
    };
    let memory = memory(args, &module)?;
    let size_bytes = std::fs::metadata(&module)?.len();
    #[allow(clippy::cast_precision_loss)]
    let megabytes = size_bytes as f64 / 1e6;
    println!("\nsize of libtedge_p11.so, stripped: {size_bytes} bytes  <=1.5 MB");
    targets.push(Target::at_most(
        "size of libtedge_p11.so".to_owned(),
        megabytes,
        1.5,
        "MB",
    ));
    Ok(Result {
        rates,
        openssl,
        memory,
        size_bytes,
    })
}

fn rates(args: &Args, module: &Path) -> anyhow::Result<Vec<Rate>> {
    let hsm = Hsm::start_in(Kind::SoftHsm, &PathBuf::from("/dev/shm"));
    for key in &args.keys {
        hsm.create_key(key, key);
    }
    let signer = Signer::start(&hsm);
    println!("\nsignatures a second by one program, with SoftHSM2 straight and through our module");
    println!(
        "{:>8} {:>7} {:>11} {:>11} {:>6}",
        "key", "threads", "straight", "module", "share"
    );
    let mut rates = Vec::new();
    let (rounds, duration) = args.fine_rounds();
    for key in &args.keys {
        for threads in THREADS {
            let task = |place: &Path| Task::Sign {
                way: Way::Floor,
                place: place.to_owned(),
                key: key.clone(),
                clients: threads,
                duration,
            };
            let turns = Turns::measure(2, rounds, |number| match number {
                0 => task(&hsm.module()).measure(&hsm),
                _ => task(module).measure_behind(&hsm, signer.socket()),
            })?;
            let rate = Rate {
                key: key.clone(),
                threads,
                share: turns.ratio(1, |m| m.rate),
                measurements: [0, 1].map(|way| Measurement::merge(turns.of(way))),
            };
            println!(
                "{key:>8} {threads:>7} {:>11.0} {:>11.0} {:>5.1}%",
                rate.measurements[0].rate,
                rate.measurements[1].rate,
                rate.share * 100.0
            );
            rates.push(rate);
        }
    }
    Ok(rates)
}

/// `openssl s_client` by libp11's engine, which Debian 12 and 13 have. It signs digests.
fn handshakes(args: &Args, module: &Path) -> anyhow::Result<Handshake> {
    let ca = Ca::new();
    let hsm = Hsm::start_in(Kind::SoftHsm, &PathBuf::from("/dev/shm"));
    let uri = hsm.create_key("tls", "p256");
    let rule = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\npurposes = [\"any\", \"digest\"]\n";
    std::fs::write(hsm.file(POLICY), rule)?;
    let signer = Signer::start(&hsm);
    let csr = ["csr", "--common-name", "token", "--uri", &uri];
    let on_token = ca.issue("token", &succeed(signer.tedge_hsm().args(csr)));
    ca.make_key("file", &["-out", "file.csr"]);
    let in_file = ca.issue("file", &std::fs::read_to_string(ca.file("file.csr"))?);
    let server = Server::start(&ca, &hsm)?;

    let connect = |certificate: &Path, module: Option<&Path>| {
        let mut command = hsm.command("openssl");
        command
            .args(["s_client", "-quiet", "-verify_return_error", "-connect"])
            .arg(format!("localhost:{}", server.port()))
            .arg("-CAfile")
            .arg(ca.certificate())
            .arg("-cert")
            .arg(certificate);
        match module {
            None => {
                command.arg("-key").arg(ca.file("file.key"));
            }
            Some(module) => {
                command
                    .args(["-engine", "pkcs11", "-keyform", "engine", "-key"])
                    .arg(format!(
                        "pkcs11:token={LABEL};object=tls;type=private?pin-value={PIN}"
                    ))
                    .env("PKCS11_MODULE_PATH", module)
                    .env(SOCKET, signer.socket());
            }
        }
        accepted(&mut command)
    };
    let turns = Turns::measure(3, args.rounds * STARTS, |number| match number {
        0 => connect(&on_token, Some(&hsm.module())),
        1 => connect(&on_token, Some(module)),
        _ => connect(&in_file, None),
    })?;
    let [straight_ms, module_ms, file_ms] =
        [0, 1, 2].map(|way| turns.median(way, |elapsed| elapsed.as_secs_f64() * 1e3));
    let ratio = turns.ratio(1, Duration::as_secs_f64);
    println!("\nopenssl s_client, from exec to the end of a TLS 1.3 handshake (P-256)");
    println!("{:20} {file_ms:>7.1} ms", "key in a file");
    println!("{:20} {straight_ms:>7.1} ms", "SoftHSM2, straight");
    println!("{:20} {module_ms:>7.1} ms  {ratio:.2} times", "our module");
    Ok(Handshake {
        file_ms,
        straight_ms,
        module_ms,
        ratio,
    })
}

/// How long it takes until the server says that it has verified the client's certificate.
fn accepted(command: &mut Command) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = Vec::new();
    let stdout = child.stdout.take().context("it is piped")?;
    // Up to the last letter of `accepted`.
    BufReader::new(stdout).read_until(b'd', &mut said)?;
    let elapsed = started.elapsed();
    child.kill()?;
    child.wait()?;
    ensure!(said == b"accepted", "no handshake: {command:?}");
    Ok(elapsed)
}

fn memory(args: &Args, module: &Path) -> anyhow::Result<[Memory; 2]> {
    let solo = Solo::new();
    let signer = Signer::start(&solo.hsm);
    let turns = Turns::measure(2, args.rounds, |number| {
        let (bare, signature) = match number {
            0 => solo.start_bare(SIGNATURES)?,
            _ => Solo::start_behind(&signer, module, SIGNATURES)?,
        };
        solo.verify_bare(&signature)?;
        let [rss_kib, pss_kib] = bare.grown_kib;
        Ok(Memory { rss_kib, pss_kib })
    })?;
    let memory = [0, 1].map(|way| Memory {
        rss_kib: turns.median(way, |memory: &Memory| memory.rss_kib),
        pss_kib: turns.median(way, |memory: &Memory| memory.pss_kib),
    });
    println!("\nmemory that a module adds to a program, after {SIGNATURES} signatures (P-256)");
    for (name, memory) in ["SoftHSM2, straight", "our module"].iter().zip(memory) {
        println!(
            "{name:20} {:>6.0} KiB Rss {:>6.0} KiB Pss",
            memory.rss_kib, memory.pss_kib
        );
    }
    Ok(memory)
}

/// As `make install` installs it: of a profile of its own, beside this program's.
fn module() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("no target folder")?;
    let module = target.join("module/libtedge_p11.so");
    ensure!(
        module.exists(),
        "{} is not built: cargo build --profile module -p tedge-p11-module",
        module.display()
    );
    Ok(module)
}

fn has_engine() -> bool {
    let found = Command::new("openssl").args(["engine", "pkcs11"]).output();
    found.is_ok_and(|output| output.status.success())
}

const THREADS: [usize; 2] = [1, 4];
const SIGNATURES: usize = 1000;
/// In each round: one is over in some milliseconds.
const STARTS: usize = 5;
