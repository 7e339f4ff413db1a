//! `make attacks`: what a member of group tedge can do to the others, tried against the signer as it ships. Each
//! attack has a line: what was tried, what came of it. Exit status: 0, none succeeded; 1, one did; 77, it can't
//! run here.
//!
//! The users are threads: SO_PEERCRED tells who the thread was that connected.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use support::faulty::key_uri;
use support::signer::POLICY;
use support::user::{as_user, become_user, can_be_others, open_to_all};
use support::wire::try_ask;
use support::{Faulty, Hsm};
use tedge_p11_protocol::{Pin, Request, Response, Sign};

fn main() -> ExitCode {
    if !can_be_others() {
        return ExitCode::from(77);
    }
    let attacks: [fn() -> Attack; 5] = [
        starving_a_slow_token,
        many_uids,
        silent_connections,
        log_flood,
        guessing_the_pin,
    ];
    let mut succeeded = 0;
    for attack in attacks {
        let Attack { tried, came, held } = attack();
        let verdict = if held { "held" } else { "SUCCEEDED" };
        println!("{verdict}: {tried}: {came}");
        succeeded += usize::from(!held);
    }
    ExitCode::from(u8::from(succeeded > 0))
}

struct Attack {
    tried: &'static str,
    came: String,
    held: bool,
}

/// A user with 200 connections on a token that takes 300 ms for a signature.
fn starving_a_slow_token() -> Attack {
    let faulty = signer();
    faulty.rules("C_Sign delay 300");
    let socket = faulty.signer.socket();
    let (made, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let longest = std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                become_user(ATTACKER);
                while !stop.load(SeqCst) {
                    match try_ask(socket, &sign("device", None)) {
                        Ok(Response::Signature(_)) => {
                            made.fetch_add(1, SeqCst);
                        }
                        _ => std::thread::sleep(Duration::from_millis(20)),
                    }
                }
            });
        }
        while made.load(SeqCst) < 16 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let longest = (0..5)
            .map(|_| time_to_sign(&faulty, VICTIM))
            .max_by(|a, b| a.unwrap_or(FOREVER).cmp(&b.unwrap_or(FOREVER)));
        stop.store(true, SeqCst);
        faulty.rules("");
        longest.flatten()
    });
    Attack {
        tried: "200 connections sign on a token that takes 300 ms for it",
        came: format!("another user's signature takes {}", shown(longest)),
        held: longest.is_some_and(|time| time < Duration::from_secs(5)),
    }
}

/// A user who comes as uids 100000 and up, and holds what he gets.
fn many_uids() -> Attack {
    let faulty = signer();
    let held: Vec<_> = (0..10)
        .flat_map(|number| {
            let socket = faulty.signer.socket();
            as_user(100_000 + number, || {
                let streams = (0..100).map(|_| UnixStream::connect(socket));
                streams.collect::<Vec<_>>()
            })
        })
        .collect();
    let (other, root) = (time_to_sign(&faulty, VICTIM), time_to_sign(&faulty, 0));
    drop(held);
    Attack {
        tried: "1,000 connections of ten subordinate uids",
        came: format!(
            "another user's signature takes {}, root's {}",
            shown(other),
            shown(root)
        ),
        held: other.is_some() && root.is_some(),
    }
}

/// 512 connections that send nothing, again and again.
fn silent_connections() -> Attack {
    let faulty = signer();
    let socket = faulty.signer.socket();
    let stop = AtomicBool::new(false);
    let mut times: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            become_user(ATTACKER);
            while !stop.load(SeqCst) {
                let held: Vec<_> = (0..512).map(|_| UnixStream::connect(socket)).collect();
                drop(held);
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        let times = (0..20)
            .map(|_| time_to_sign(&faulty, VICTIM).unwrap_or(FOREVER))
            .collect();
        stop.store(true, SeqCst);
        times
    });
    times.sort_unstable();
    let median = times[times.len() / 2];
    Attack {
        tried: "512 silent connections at once, again and again",
        came: format!("another user's signature takes {}", shown(Some(median))),
        held: median < Duration::from_millis(400),
    }
}

/// Requests with URIs of 2 KB, as fast as they are taken.
fn log_flood() -> Attack {
    let faulty = signer();
    let before = faulty.signer.log().len();
    let begun = Instant::now();
    as_user(ATTACKER, || {
        for number in 0_usize.. {
            let uri = format!("pkcs11:token=device;object={number}{}", "x".repeat(1900));
            let _ = try_ask(faulty.signer.socket(), &Request::PublicKeyPem(Some(uri)));
            if begun.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
    });
    let written = faulty.signer.log().len() - before;
    let seconds = begun.elapsed().as_secs() + 1;
    let rate = written as u64 / 1024 / seconds;
    Attack {
        tried: "errors about URIs of 2 KB, for three seconds",
        came: format!("{rate} KiB of log a second"),
        held: rate < 100,
    }
}

/// One PIN after the other, and then the right one.
fn guessing_the_pin() -> Attack {
    let faulty = signer();
    assert!(time_to_sign(&faulty, VICTIM).is_some());
    let guess = |pin: &str| {
        let request = sign("device", Some(pin));
        let answer = as_user(ATTACKER, || try_ask(faulty.signer.socket(), &request));
        matches!(answer, Ok(Response::Signature(_)))
    };
    let mut tried = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        guess(&format!("{tried:06}"));
        tried += 1;
    }
    let found = guess(support::hsm::PIN);
    let victim = time_to_sign(&faulty, VICTIM);
    Attack {
        tried: "guesses of the configured PIN, for three seconds",
        came: format!(
            "{tried} guesses; after them the right PIN is {}; another user's signature takes {}",
            if found {
                "told from others"
            } else {
                "not told from others"
            },
            shown(victim)
        ),
        held: !found && victim.is_some(),
    }
}

/// With a rule for everybody, as the default policy has it, and the key that all sign with.
fn signer() -> Faulty {
    let hsm: Hsm = Faulty::tokens();
    hsm.create_key_on("device", "key", "p256");
    let policy =
        "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\npurposes = [\"any\"]\n";
    std::fs::write(hsm.file(POLICY), policy).unwrap();
    let faulty = Faulty {
        signer: Faulty::spawn(&hsm),
        hsm,
    };
    open_to_all(&faulty.hsm, &faulty.signer);
    faulty
}

fn time_to_sign(faulty: &Faulty, uid: u32) -> Option<Duration> {
    as_user(uid, || {
        let begun = Instant::now();
        let answer = try_ask(faulty.signer.socket(), &sign("device", None));
        matches!(answer, Ok(Response::Signature(_))).then(|| begun.elapsed())
    })
}

fn sign(token: &str, pin: Option<&str>) -> Request {
    Request::Sign(Sign {
        to_sign: b"message".to_vec().into(),
        uri: Some(key_uri(token)),
        pin: pin.map(|pin| Pin::new(pin.to_owned()).unwrap()),
    })
}

fn shown(time: Option<Duration>) -> String {
    match time {
        Some(time) if time < FOREVER => format!("{} ms", time.as_millis()),
        _ => "for ever".to_owned(),
    }
}

/// Users of every Debian: daemon and games.
const ATTACKER: u32 = 1;
const VICTIM: u32 = 5;
const FOREVER: Duration = Duration::from_secs(3600);
