//! The signer under random faults, all the time: nothing is lost, nothing is wrong, nothing grows.
//!
//! SOAK_SECONDS is how long, SOAK_SEED what the faults and requests are made from; `make soak`.

mod clients;
mod faults;
mod footprint;
mod random;
mod token_files;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::faulty::Faulty;
use support::hsm::PIN;
use support::{Hsm, Signer};
use tedge_p11_client::SocketKey;

use clients::{Tally, Way};
use faults::Fault;
use footprint::Footprint;
use random::Random;
use token_files::TokenFiles;

#[test]
fn soak() {
    let seconds = variable("SOAK_SECONDS").unwrap_or(12);
    let seed = variable("SOAK_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos())
    });
    println!("soak: SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let part = |quarters: u64| Duration::from_millis(seconds * 250 * quarters);
    let mut soak = Soak::start(seed);

    soak.run(part(1), false);
    let before = Footprint::of(soak.faulty.signer.pid());
    soak.run(part(2), false);
    let after = Footprint::of(soak.faulty.signer.pid());
    let lost = soak.tally.lost;
    soak.run(part(1), true);

    soak.report();
    println!("  before: {before}\n  after:  {after}");
    let tally = &soak.tally;
    let wrong = &tally.wrong;
    let some = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} wrong, such as {some:#?}", wrong.len());
    let right = tally.signatures + tally.answers;
    let errors: usize = tally.errors.values().sum();
    assert_eq!(tally.requests, right + errors + tally.lost);
    // Who does without the library sees a crash, when its request is under way.
    let crashes = soak.faults.get("crash").copied().unwrap_or_default();
    assert_eq!(lost, 0, "requests without an answer");
    assert!(
        tally.lost <= crashes * CLIENTS,
        "{} requests lost in {crashes} crashes",
        tally.lost
    );
    assert!(after.is_as(before), "it grows: {before}; then {after}");
}

/// The signer, its clients, and what goes wrong.
struct Soak {
    faulty: Faulty,
    /// Stays open when the signer ends, as systemd's does.
    listener: UnixListener,
    keys: Vec<SocketKey>,
    random: Random,
    tally: Tally,
    faults: BTreeMap<&'static str, usize>,
    token_files: TokenFiles,
}

impl Soak {
    fn start(seed: u64) -> Self {
        let hsm = Faulty::tokens();
        let uris: Vec<_> = ["device", "two"]
            .iter()
            .flat_map(|token| ["p256", "rsa2048"].map(|kind| (token, kind)))
            .map(|(token, kind)| hsm.create_key_on(token, kind, kind))
            .collect();
        let listener = UnixListener::bind(hsm.file("signer.sock")).unwrap();
        let signer = activate(&hsm, &listener);
        let keys = uris.iter().map(|uri| signer.key(uri)).collect();
        let token_files = TokenFiles::read(&hsm);
        Self {
            faulty: Faulty { signer, hsm },
            listener,
            keys,
            random: Random::new(seed),
            tally: Tally::default(),
            faults: BTreeMap::new(),
            token_files,
        }
    }

    /// Lets things go wrong for a time; afterwards, every client was served again.
    fn run(&mut self, time: Duration, crashes: bool) {
        let calm = AtomicBool::new(false);
        let socket = self.faulty.hsm.file("signer.sock");
        std::thread::scope(|scope| {
            let mut clients = Vec::new();
            for key in &self.keys {
                for way in [Way::Library, Way::Frames] {
                    let (socket, calm) = (&socket, &calm);
                    let mut random = self.random.branch();
                    let run = move || clients::run(way, socket, key, calm, &mut random);
                    clients.push(scope.spawn(run));
                }
            }
            let until = Instant::now() + time;
            while Instant::now() < until && clients.iter().all(|client| !client.is_finished()) {
                let fault = if crashes && self.random.below(8) == 0 {
                    Fault::crash(&mut self.random)
                } else {
                    Fault::choose(&mut self.random)
                };
                *self.faults.entry(fault.kind).or_default() += 1;
                self.faulty.rules(&fault.rules);
                if fault.kind == "crash" {
                    assert!(!self.faulty.signer.wait().success());
                    self.faulty.rules("");
                    self.token_files.restore();
                    self.faulty.signer = activate(&self.faulty.hsm, &self.listener);
                }
                std::thread::sleep(fault.lasts);
                if self.random.below(2) == 0 {
                    self.faulty.rules("");
                    std::thread::sleep(self.random.millis(0, 300));
                }
            }
            self.faulty.rules("");
            calm.store(true, SeqCst);
            for client in clients {
                self.tally.add(client.join().unwrap());
            }
        });
    }

    fn report(&self) {
        let Tally {
            requests,
            signatures,
            answers,
            lost,
            longest,
            ..
        } = self.tally;
        println!(
            "soak: {requests} requests: {signatures} signatures, {answers} other answers, {} errors, \
             {lost} lost in crashes; the longest took {} ms",
            self.tally.errors.values().sum::<usize>(),
            longest.as_millis(),
        );
        for (kind, count) in &self.tally.errors {
            println!("  error {kind}: {count}");
        }
        for (kind, count) in &self.faults {
            println!("  fault {kind}: {count}");
        }
        println!(
            "  token files that crashes left broken: {}",
            self.token_files.restored
        );
    }
}

/// Starts the signer as systemd does, with a socket that is there already.
fn activate(hsm: &Hsm, listener: &UnixListener) -> Signer {
    let server = Faulty::command(hsm);
    let mut command = Command::new("sh");
    // What is passed is descriptor 3, and LISTEN_PID must be the signer's.
    command
        .args([
            "-c",
            "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"",
            "sh",
        ])
        .arg(server.get_program())
        .args(server.get_args())
        .args(["--pin", PIN, "--log-level", "error"])
        .env("LISTEN_FDS", "1")
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    for (name, value) in server.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    // Every call would be a line.
    command.env_remove("FAULTY_LOG");
    let signer = Signer::spawn(hsm, &mut command);
    signer.read_notifications();
    signer
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// For each key one with the library and one without.
const CLIENTS: usize = 8;
