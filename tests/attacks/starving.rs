//! Others' turns, places, time and lines in the log.

use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use support::wire::try_ask;
use tedge_p11_protocol::{Request, Response};

use crate::Attack;
use crate::members::{ATTACKER, FOREVER, Members, SUBORDINATE, VICTIM, shown, sign};

/// A user with 200 connections on a token that takes 300 ms for a signature.
pub fn a_slow_token(members: Members) -> Attack {
    let faulty = members.signer(true);
    faulty.rules("C_Sign delay 300");
    let socket = faulty.signer.socket();
    let (made, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let longest = std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                members.become_one(ATTACKER);
                while !stop.load(SeqCst) {
                    match try_ask(socket, &sign(None)) {
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
        let times = (0..5).map(|_| members.time_to_sign(&faulty, VICTIM, None));
        let longest = times.map(|time| time.unwrap_or(FOREVER)).max();
        stop.store(true, SeqCst);
        faulty.rules("");
        longest
    });
    Attack {
        tried: "200 connections sign on a token that takes 300 ms for it",
        came: format!("another user's signature takes {} at most", shown(longest)),
        held: longest.is_some_and(|time| time < Duration::from_secs(5)),
    }
}

/// A user who comes as uids 100000 and up, and holds what he gets.
pub fn by_many_uids(members: Members) -> Attack {
    let faulty = members.signer(true);
    let held: Vec<_> = (SUBORDINATE..SUBORDINATE + 10)
        .flat_map(|uid| {
            let socket = faulty.signer.socket();
            members.run(uid, || {
                let streams = (0..100).map(|_| UnixStream::connect(socket));
                streams.collect::<Vec<_>>()
            })
        })
        .collect();
    let [other, root] = [VICTIM, 0].map(|uid| members.time_to_sign(&faulty, uid, None));
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
pub fn by_silent_connections(members: Members) -> Attack {
    let faulty = members.signer(true);
    let socket = faulty.signer.socket();
    let stop = AtomicBool::new(false);
    let mut times: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            members.become_one(ATTACKER);
            while !stop.load(SeqCst) {
                let held: Vec<_> = (0..512).map(|_| UnixStream::connect(socket)).collect();
                drop(held);
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        let times = (0..20).map(|_| members.time_to_sign(&faulty, VICTIM, None));
        let times = times.map(|time| time.unwrap_or(FOREVER)).collect();
        stop.store(true, SeqCst);
        times
    });
    times.sort_unstable();
    let median = times[times.len() / 2];
    Attack {
        tried: "512 silent connections at once, again and again",
        came: format!(
            "another user's signature takes {} (median of {})",
            shown(Some(median)),
            times.len()
        ),
        held: median < Duration::from_millis(400),
    }
}

/// Requests with URIs of 2 KB, as fast as they are taken.
pub fn the_log(members: Members) -> Attack {
    let faulty = members.signer(true);
    let before = faulty.signer.log().len();
    let begun = Instant::now();
    members.run(ATTACKER, || {
        flood(faulty.signer.socket(), || {
            begun.elapsed() > Duration::from_secs(3)
        });
    });
    let written = faulty.signer.log().len() - before;
    let rate = written as u64 / 1024 / begun.elapsed().as_secs().max(1);
    Attack {
        tried: "errors about URIs of 2 KB, for three seconds",
        came: format!("{rate} KiB of log a second"),
        held: rate < 100,
    }
}

/// What is told of guesses must not be among what is left out.
pub fn the_log_while_guessing(members: Members) -> Attack {
    let faulty = members.signer(true);
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let is_told = std::thread::scope(|scope| {
        scope.spawn(|| {
            members.become_one(ATTACKER);
            flood(faulty.signer.socket(), || done.load(SeqCst));
        });
        let told = |text: &str| faulty.signer.log().contains(text);
        while !told("more requests of uid 2001") && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
        }
        for pin in ["1", "2", "3"] {
            let _ = members.time_to_sign(&faulty, ATTACKER, Some(pin));
        }
        // A request may have been one too many for its second.
        let end = Instant::now() + Duration::from_secs(20);
        let mut is_told = false;
        let mut number = 3;
        while !is_told && Instant::now() < end {
            number += 1;
            let _ = members.time_to_sign(&faulty, ATTACKER, Some(&number.to_string()));
            is_told = told("uid 2001 has given 2 different PINs that are wrong");
        }
        done.store(true, SeqCst);
        is_told
    });
    Attack {
        tried: "guesses behind a flood of the log",
        came: if is_told {
            "told in the log"
        } else {
            "not told"
        }
        .to_owned(),
        held: is_told,
    }
}

/// Each error is another one, so that none counts as a repetition.
fn flood(socket: &std::path::Path, is_over: impl Fn() -> bool) {
    for number in 0_usize.. {
        let uri = format!("pkcs11:token=device;object={number}{}", "x".repeat(1900));
        let _ = try_ask(socket, &Request::PublicKeyPem(Some(uri)));
        if is_over() {
            break;
        }
    }
}
