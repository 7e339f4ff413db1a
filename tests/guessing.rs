//! Guesses at a PIN by one user: how many are looked at, and what others notice. Each user is a thread that is
//! another user when it connects.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use support::faulty::key_uri;
use support::healing::sign;
use support::hsm::PIN;
use support::signer::{ALL_ALLOWED, POLICY};
use support::user::{as_user, become_user, can_be_others, most_guesses, open_to_all};
use support::wire::ask;
use support::{Faulty, Hsm, Kind, Signer};
use tedge_p11_client::{Error, SocketKey};
use tedge_p11_protocol::{Request, Response};

const GUESSER: u32 = 2001;
const OTHER: u32 = 2002;
const THIRD: u32 = 2003;

/// One of the user's PINs after the other, on eight connections at once.
#[test]
fn a_user_that_guesses_is_not_listened_to() {
    if !can_be_others() {
        return;
    }
    let (hsm, signer, uri) = start(&["--pin", PIN]);
    let started = Instant::now();
    let compared = guess_in_parallel(&signer, &uri, &[GUESSER; 8]);
    assert!(
        (2..=most_guesses(started.elapsed())).contains(&compared),
        "{compared} in {:?}",
        started.elapsed()
    );
    // Nothing tells the right one from a wrong one.
    let [right, wrong] = [PIN, "other"].map(|pin| open(&signer, &uri, GUESSER, Some(pin)));
    let [right, wrong] = [right, wrong].map(|result| result.err().unwrap());
    assert!(right.contains("are not looked at"), "{right}");
    assert_eq!(right, wrong);
    // Others do not notice, nor does this user where the signer has the PIN.
    sign(&open(&signer, &uri, OTHER, Some(PIN)).unwrap()).unwrap();
    sign(&open(&signer, &uri, GUESSER, None).unwrap()).unwrap();
    let log = signer.log();
    assert!(
        log.contains("uid 2001 has given 2 different PINs that are wrong"),
        "{log}"
    );
    drop(hsm);
}

/// Lines about a user's requests are budgeted. That a user is not listened to any more is told all the same.
#[test]
fn a_flood_of_the_log_hides_no_guesses() {
    if !can_be_others() {
        return;
    }
    let (_hsm, signer, uri) = start(&["--pin", PIN]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (socket, done) = (signer.socket(), &done);
            scope.spawn(move || {
                become_user(GUESSER);
                for number in 0.. {
                    let uri = format!("pkcs11:object={thread}{number}{}", "x".repeat(1900));
                    let answer = ask(socket, &Request::PublicKeyPem(Some(uri)));
                    assert!(matches!(answer, Response::Error(_)), "{answer:?}");
                    if done.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(120);
        let told = |text: &str| signer.log().contains(text);
        while !told("more requests of uid 2001 within a second: describe failed") {
            assert!(Instant::now() < deadline, "{}", signer.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        for guess in ["1", "2"] {
            open(&signer, &uri, GUESSER, Some(guess)).unwrap_err();
        }
        let is_told = told("uid 2001 has given 2 different PINs that are wrong");
        done.store(true, SeqCst);
        assert!(is_told, "{}", signer.log());
    });
}

/// A user with a subordinate range has as many uids as he likes.
#[test]
fn uids_without_a_user_guess_together() {
    if !can_be_others() {
        return;
    }
    let (_hsm, signer, uri) = start(&["--pin", PIN]);
    let uids: Vec<u32> = (100_000..100_008).collect();
    let started = Instant::now();
    let compared = guess_in_parallel(&signer, &uri, &uids);
    assert!(compared <= most_guesses(started.elapsed()), "{compared}");
    sign(&open(&signer, &uri, OTHER, Some(PIN)).unwrap()).unwrap();
}

/// Two mappers of one user share a setting, and send the wrong PIN in it with each request.
#[test]
fn the_same_wrong_pin_counts_once() {
    if !can_be_others() {
        return;
    }
    let (hsm, mut signer, uri) = start(&["--pin", PIN]);
    for _ in 0..2 {
        let errors: Vec<_> = std::thread::scope(|scope| {
            let mapper = || {
                let open = || open(&signer, &uri, GUESSER, Some("654321")).err().unwrap();
                [(); 20].map(|()| open())
            };
            let mappers = [(); 2].map(|()| scope.spawn(mapper));
            let errors = mappers.map(|mapper| mapper.join().unwrap());
            errors.into_iter().flatten().collect()
        });
        for error in errors {
            assert!(error.contains("is not the one that token"), "{error}");
        }
        sign(&open(&signer, &uri, GUESSER, Some(PIN)).unwrap()).unwrap();
        // Known again after a restart.
        signer = restart(&hsm, signer, &["--pin", PIN]);
    }
}

#[test]
fn a_restart_ends_no_pause() {
    if !can_be_others() {
        return;
    }
    let (hsm, signer, uri) = start(&["--pin", PIN]);
    for guess in ["1", "2", "3", "4"] {
        open(&signer, &uri, GUESSER, Some(guess)).unwrap_err();
    }
    // One more wrong PIN, once that is possible, makes the pause longer than a restart takes.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut wrong = 4;
    while !signer.log().contains("is looked at for 32 s") {
        assert!(Instant::now() < deadline, "{}", signer.log());
        wrong += 1;
        open(&signer, &uri, GUESSER, Some(&wrong.to_string())).unwrap_err();
        std::thread::sleep(Duration::from_millis(100));
    }
    let signer = restart(&hsm, signer, &["--pin", PIN]);
    let error = open(&signer, &uri, GUESSER, Some(PIN)).unwrap_err();
    assert!(error.contains("are not looked at"), "{error}");
    sign(&open(&signer, &uri, OTHER, Some(PIN)).unwrap()).unwrap();
}

/// Where no PIN is configured, the token is asked; SoftHSM2 locks none, a TPM does.
#[test]
fn a_user_that_guesses_locks_nobody_out() {
    if !can_be_others() {
        return;
    }
    for kind in [Kind::SoftHsm, Kind::Tpm2] {
        let hsm = Hsm::start(kind);
        let uri = hsm.create_key("device", "p256");
        let signer = spawn(&hsm, &[]);
        for guess in 0..20 {
            open(&signer, &uri, GUESSER, Some(&format!("wrong{guess}"))).unwrap_err();
        }
        sign(&open(&signer, &uri, OTHER, Some(PIN)).unwrap()).unwrap();
    }
}

/// Wrong PINs of all users together must not lock a card. A user who gave the right one before is not kept waiting
/// by those who never did, however many they are.
#[test]
fn many_users_lock_neither_the_token_nor_those_who_know_the_pin() {
    if !can_be_others() {
        return;
    }
    let mut faulty = Faulty::start();
    std::fs::write(faulty.hsm.file(POLICY), policy()).unwrap();
    let restart = |faulty: &mut Faulty| {
        faulty.restart(&[], true);
        open_to_all(&faulty.hsm, &faulty.signer);
    };
    restart(&mut faulty);
    sign(&open(&faulty.signer, &key_uri("device"), THIRD, Some(PIN)).unwrap()).unwrap();
    restart(&mut faulty);
    for (user, said) in [
        (GUESSER, "CKR_PIN_INCORRECT"),
        (GUESSER, "this user may have one tried in an hour"),
        (OTHER, "several wrong PINs were given"),
    ] {
        let pin = format!("{user}{}", said.len());
        let error = open(&faulty.signer, &key_uri("device"), user, Some(&pin)).unwrap_err();
        assert!(error.contains(said), "{user}: {error}");
    }
    assert_eq!(faulty.refused_logins(), 1);
    sign(&open(&faulty.signer, &key_uri("device"), THIRD, Some(PIN)).unwrap()).unwrap();
    // Now that it is known, it need not be tried.
    sign(&open(&faulty.signer, &key_uri("device"), OTHER, Some(PIN)).unwrap()).unwrap();
    assert_eq!(faulty.refused_logins(), 1);
    let kept = std::fs::read_to_string(faulty.hsm.file("refused-pins")).unwrap();
    assert!(!kept.contains(PIN), "{kept}");
}

/// Different PINs, until each user has been told 50 times that they are not looked at; and how many were.
fn guess_in_parallel(signer: &Signer, uri: &str, users: &[u32]) -> usize {
    let guess = |(thread, user): (usize, u32)| {
        let (mut compared, mut paused, mut number) = (0, 0, 0);
        while paused < 50 && compared < 100 {
            number += 1;
            let guess = format!("{thread}-{number}");
            let error = open(signer, uri, user, Some(&guess)).unwrap_err();
            if error.contains("is not the one that token") {
                compared += 1;
            } else {
                assert!(error.contains("are not looked at"), "{error}");
                paused += 1;
            }
        }
        compared
    };
    std::thread::scope(|scope| {
        let users = users.iter().copied().enumerate();
        let threads: Vec<_> = users.map(|user| scope.spawn(move || guess(user))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    })
}

fn start(args: &[&str]) -> (Hsm, Signer, String) {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = spawn(&hsm, args);
    (hsm, signer, uri)
}

fn restart(hsm: &Hsm, mut signer: Signer, args: &[&str]) -> Signer {
    signer.signal(rustix::process::Signal::TERM);
    signer.wait();
    spawn(hsm, args)
}

/// A signer that keeps wrong PINs over restarts.
fn spawn(hsm: &Hsm, args: &[&str]) -> Signer {
    std::fs::write(hsm.file(POLICY), policy()).unwrap();
    let mut command = Signer::command(hsm, &hsm.module());
    command.env("STATE_DIRECTORY", hsm.dir.path()).args(args);
    let signer = Signer::spawn(hsm, &mut command);
    open_to_all(hsm, &signer);
    signer
}

/// With a rule for each of the three users, so that each has an account of its own.
fn policy() -> String {
    let named =
        [GUESSER, OTHER, THIRD].map(|uid| format!("[[rule]]\nuid = {uid}\noperations = []\n"));
    format!("{}{ALL_ALLOWED}", named.concat())
}

fn open(signer: &Signer, uri: &str, user: u32, pin: Option<&str>) -> Result<SocketKey, String> {
    let open = || match pin {
        Some(pin) => signer.key_with_pin(uri, pin),
        None => SocketKey::open(signer.client(), &support::parse_uri(uri), None),
    };
    as_user(user, open).map_err(|error: Error| error.to_string())
}
