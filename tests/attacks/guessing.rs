//! Guesses at PINs.

use std::time::{Duration, Instant};

use support::Faulty;
use support::hsm::PIN;
use support::user::most_guesses;
use support::wire::try_ask;
use tedge_p11_protocol::Response;

use crate::Attack;
use crate::members::{ATTACKER, Members, SUBORDINATE, VICTIM, shown, sign};

pub fn by_one_user(members: Members) -> Attack {
    let attack = guess(members, &[ATTACKER; 8]);
    Attack {
        tried: "guesses of the configured PIN by one user, on eight connections",
        ..attack
    }
}

pub fn by_eight_uids(members: Members) -> Attack {
    let uids: Vec<_> = (SUBORDINATE..SUBORDINATE + 8).collect();
    let attack = guess(members, &uids);
    Attack {
        tried: "guesses of the configured PIN by eight subordinate uids",
        ..attack
    }
}

/// Different PINs, as fast as they are answered, by all users at once, and then the right one.
fn guess(members: Members, users: &[u32]) -> Attack {
    let faulty = members.signer(true);
    // The token is open.
    let before = members.time_to_sign(&faulty, VICTIM, None);
    let begun = Instant::now();
    let (sent, compared) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(users)
            .map(|(thread, uid)| {
                let faulty = &faulty;
                scope.spawn(move || {
                    members.become_one(*uid);
                    guess_until(faulty, thread, begun + TIME)
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.fold((0, 0), |all, of_one| (all.0 + of_one.0, all.1 + of_one.1))
    });
    let most = most_guesses(begun.elapsed());
    let found = users.iter().any(|uid| is_told(members, &faulty, *uid));
    let with_pin = members.time_to_sign(&faulty, VICTIM, Some(PIN));
    let without = members.time_to_sign(&faulty, VICTIM, None);
    let told = if found {
        "is told from others"
    } else {
        "is not told from others"
    };
    Attack {
        tried: "",
        came: format!(
            "{sent} sent in {} s, {compared} compared (at most {most}); after them the right PIN {told}; another \
             user's signature takes {} with the PIN, {} without",
            TIME.as_secs(),
            shown(with_pin),
            shown(without)
        ),
        held: before.is_some()
            && (1..=most).contains(&compared)
            && !found
            && with_pin.is_some()
            && without.is_some(),
    }
}

/// Whether the right PIN has another answer than a wrong one before it and after it, none of which is looked at. Where
/// a pause ends in between, that is one more guess, and is tried again.
fn is_told(members: Members, faulty: &Faulty, uid: u32) -> bool {
    // The rate of requests is another limit.
    std::thread::sleep(Duration::from_millis(1100));
    let mut number = 0;
    loop {
        number += 1;
        let wrong = [format!("before{number}"), format!("after{number}")];
        let pins = [wrong[0].as_str(), PIN, wrong[1].as_str()];
        let answers = members.run(uid, || {
            pins.map(|pin| try_ask(faulty.signer.socket(), &sign(Some(pin))).unwrap())
        });
        let [before, right, after] = answers;
        let paused = |answer: &Response| matches!(answer, Response::Error(error) if error.contains("are not looked at"));
        if paused(&before) && paused(&after) {
            return format!("{right:?}") != format!("{after:?}");
        }
    }
}

/// How many guesses were sent, and how many compared.
fn guess_until(faulty: &Faulty, thread: u32, end: Instant) -> (usize, usize) {
    let (mut sent, mut compared) = (0, 0);
    while Instant::now() < end {
        sent += 1;
        let pin = format!("{thread}{sent:06}");
        match try_ask(faulty.signer.socket(), &sign(Some(&pin))) {
            Ok(Response::Error(error)) if error.contains("is not the one that token") => {
                compared += 1;
            }
            Ok(Response::Signature(_)) => panic!("{pin} is taken"),
            // Not looked at, or more requests than a second has.
            _ => {}
        }
    }
    (sent, compared)
}

/// Where no PIN is configured, the token is asked.
pub fn to_lock_others_out(members: Members) -> Attack {
    let faulty = members.signer(false);
    for number in 0..20 {
        let pin = format!("wrong{number}");
        let _ = members.time_to_sign(&faulty, ATTACKER, Some(&pin));
    }
    let tries = faulty.refused_logins();
    let victim = members.time_to_sign(&faulty, VICTIM, Some(PIN));
    Attack {
        tried: "20 wrong PINs of one user, where no PIN is configured",
        came: format!(
            "{tries} reached the token; another user's right PIN signs in {}",
            shown(victim)
        ),
        held: tries < 3 && victim.is_some(),
    }
}

const TIME: Duration = Duration::from_secs(10);
