//! What one user can take from another: turns on the token, waiting, places.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::faulty::key_uri;
use support::signer::POLICY;
use support::user::{as_user, become_user, can_be_others, open_to_all};
use support::wire::{self, ask};
use support::{Faulty, Hsm, Kind, Signer};
use tedge_p11_protocol::{Request, Response, Sign};

/// A user that keeps 100 connections busy on a slow token does not starve another one: while he waits for a
/// signature, at most two calls that run already and one turn of each user come before it.
#[test]
fn a_user_with_many_connections_does_not_starve_another() {
    if !can_be_others() {
        return;
    }
    let faulty = Faulty::start();
    open_to_all(&faulty.hsm, &faulty.signer);
    faulty.rules("C_Sign delay 50");
    let socket = faulty.signer.socket();
    let (signed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stop = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                become_user(GREEDY);
                while stop.load(SeqCst) == 0 {
                    match ask(socket, &signature()) {
                        Response::Signature(_) => signed.fetch_add(1, SeqCst),
                        Response::Error(error) => {
                            assert!(error.contains("64 requests waiting"), "{error}");
                            std::thread::sleep(Duration::from_millis(5));
                            refused.fetch_add(1, SeqCst)
                        }
                        other => panic!("{other:?}"),
                    };
                }
            });
        }
        // The queue is full, and the token is known to be slow.
        await_that(|| refused.load(SeqCst) > 0 && signed.load(SeqCst) > 40);
        let before_others: Vec<_> = (0..8)
            .map(|_| {
                as_user(OTHER, || {
                    let before = signed.load(SeqCst);
                    let answer = ask(socket, &signature());
                    assert!(matches!(answer, Response::Signature(_)), "{answer:?}");
                    signed.load(SeqCst) - before
                })
            })
            .collect();
        stop.store(1, SeqCst);
        // Some are counted that ended with his or while this thread did not run: half of them is judged.
        let mut sorted = before_others.clone();
        sorted.sort_unstable();
        assert!(sorted[4] <= 6, "{before_others:?}");
    });
}

/// As many requests of a user may wait for a token as the policy says; more get an error at once.
#[test]
fn a_user_may_have_so_many_requests_waiting() {
    let hsm = Faulty::tokens();
    hsm.create_key_on("device", "key", "p256");
    let policy = "[[rule]]\noperations = [\"sign\"]\npurposes = [\"any\"]\n\
                  [limits]\nwaiting-requests = 3\n";
    std::fs::write(hsm.file(POLICY), policy).unwrap();
    let faulty = Faulty {
        signer: Faulty::spawn(&hsm),
        hsm,
    };
    let socket = faulty.signer.socket();
    assert!(matches!(ask(socket, &signature()), Response::Signature(_)));
    faulty.rules("C_Sign hang");
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Eight run, three wait.
        for _ in 0..20 {
            scope.spawn(|| {
                match ask(socket, &signature()) {
                    Response::Signature(_) => answered.fetch_add(1, SeqCst),
                    Response::Error(error) => {
                        assert!(
                            error.contains("uid 0 has 3 requests waiting for this token already"),
                            "{error}"
                        );
                        refused.fetch_add(1, SeqCst)
                    }
                    other => panic!("{other:?}"),
                };
            });
        }
        await_that(|| refused.load(SeqCst) == 9);
        assert_eq!(answered.load(SeqCst), 0);
        faulty.rules("");
    });
    assert_eq!((answered.load(SeqCst), refused.load(SeqCst)), (11, 9));
}

/// A thread waits 5 ms for the request of who has just connected, but not again and again for a user whose connections
/// are silent. There are two such threads before the first call: with 200 silent connections in the queue another
/// user would wait for half a second. That can't take less, however fast the machine; so one answer that comes
/// sooner is proof, and the machine has many chances to be fast enough.
#[test]
fn silent_connections_keep_nobody_waiting() {
    if !can_be_others() {
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start(&hsm);
    open_to_all(&hsm, &signer);
    let socket = signer.socket();
    let mut times = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while times.last().is_none_or(|time| *time > MOMENT * SILENT / 4) {
        assert!(Instant::now() < deadline, "{times:?}");
        let begun = Instant::now();
        let mut held: Vec<_> = as_user(GREEDY, || {
            (0..SILENT).map(|_| wire::connect(socket)).collect()
        });
        let answer = as_user(OTHER, || ask(socket, &Request::Ping));
        assert!(matches!(answer, Response::Pong), "{answer:?}");
        let time = begun.elapsed();
        // A connection that got no place is closed, and is waited for by nobody.
        let are_held = held.iter_mut().all(|stream| {
            stream.set_nonblocking(true).unwrap();
            std::io::Read::read(stream, &mut [0]).is_err()
        });
        if are_held {
            times.push(time);
        }
        drop(held);
    }
}

/// With a range of uids that are nobody's, a user takes one user's places, not all of them. A rule gives such a
/// uid places of its own.
#[test]
fn uids_without_a_user_can_not_take_every_place() {
    if !can_be_others() {
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let policy = "[[rule]]\noperations = [\"list\"]\n\
                  [[rule]]\nuid = 100007\noperations = [\"list\"]\n";
    std::fs::write(hsm.file(POLICY), policy).unwrap();
    let signer = Signer::start(&hsm);
    open_to_all(&hsm, &signer);
    let socket = signer.socket();
    let held: Vec<_> = (NAMELESS..NAMELESS + 6)
        .flat_map(|uid| {
            as_user(uid, || {
                (0..100).map(|_| wire::connect(socket)).collect::<Vec<_>>()
            })
        })
        .collect();
    for uid in [0, OTHER, 100_007] {
        let answer = as_user(uid, || ask(socket, &Request::ListTokens));
        assert!(matches!(answer, Response::Tokens(_)), "{uid}: {answer:?}");
    }
    // They have a share together, which is used up: such a connection is closed without an answer.
    let answer = as_user(NAMELESS + 50, || {
        let mut stream = wire::connect(socket);
        std::io::Read::read(&mut stream, &mut [0; 16])
    });
    assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
    let log = signer.log();
    for uid in NAMELESS..NAMELESS + 6 {
        let told = format!("uid {uid} is in no user database");
        assert_eq!(log.matches(&told).count(), 1, "{log}");
    }
    assert!(!log.contains("uid 100007 is in no"), "{log}");
    drop(held);
}

fn signature() -> Request {
    Request::Sign(Sign {
        to_sign: b"message".to_vec().into(),
        uri: Some(key_uri("device")),
        pin: None,
    })
}

/// Waits for what comes sooner or later.
fn await_that(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !what() {
        assert!(Instant::now() < deadline, "it did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Connections that one user may hold.
const SILENT: u32 = 200;
/// That a thread waits for a request.
const MOMENT: Duration = Duration::from_millis(5);
/// Users of every Debian: daemon and games.
const GREEDY: u32 = 1;
const OTHER: u32 = 5;
/// Nobody's.
const NAMELESS: u32 = 100_000;
