//! How long a user's signature takes while another user keeps 200 connections busy, in signatures.
//!
//! One signature is the time that the signer takes for one under this load. Where it makes several at once, that is as
//! many as are made meanwhile: with two at once, two of others end while one is made, however soon its turn comes.
//! So what is counted, the signatures of others that are made meanwhile, is divided by how many calls run at once, which
//! the signer tells.

use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use serde::Serialize;
use support::hsm::LABEL;
use support::user::{as_user, become_user, can_be_others, open_to_all};
use support::wire::try_ask;
use support::{Hsm, Kind, Signer};
use tedge_p11_protocol::{Request, Response, Sign};

use crate::Args;
use crate::target::Target;
use crate::turns::{Spread, median};

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    hsm: &'static str,
    /// Of the other user, made between a request and its answer.
    made_meanwhile: Spread,
    /// Calls on the module, most of the time.
    at_once: f64,
    /// The one by the other: how long the user waits, his own signature included.
    signatures: Spread,
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Vec<Row>> {
    println!(
        "\nfairness: signatures that a user waits for while another keeps 200 connections busy"
    );
    let mut rows = Vec::new();
    if !can_be_others() {
        return Ok(rows);
    }
    for kind in args.kinds()? {
        let name = match kind {
            Kind::Tpm2 => "tpm2",
            _ => "softhsm",
        };
        let hsm = Hsm::start_in(kind, PathBuf::from("/dev/shm").as_path());
        hsm.create_key("p256", "p256");
        let signer = Signer::start(&hsm);
        open_to_all(&hsm, &signer);
        let (waits, at_once) = waits(&signer, 10 * args.rounds)?;
        let made_meanwhile = Spread::of(waits.iter().copied());
        let signatures = Spread::of(waits.iter().map(|made| made / at_once));
        println!(
            "{name:8} median (lowest to highest): {signatures:.1}; {made_meanwhile:.0} were made, {at_once:.0} at once"
        );
        targets.push(Target::at_most(
            format!("{name}: a user beside one with 200 connections waits"),
            signatures.median,
            ACTIVE_USERS + 1.0,
            "signatures",
        ));
        rows.push(Row {
            hsm: name,
            made_meanwhile,
            at_once,
            signatures,
        });
    }
    Ok(rows)
}

/// For each of `count` signatures of one user, how many of the other are made meanwhile; and how many calls run at once,
/// the median of as many looks.
fn waits(signer: &Signer, count: usize) -> anyhow::Result<(Vec<f64>, f64)> {
    let (made, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let socket = signer.socket();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                become_user(GREEDY);
                while !stop.load(SeqCst) {
                    match try_ask(socket, &signature()) {
                        Ok(Response::Signature(_)) => {
                            made.fetch_add(1, SeqCst);
                        }
                        // It has as many waiting as it may have; or no place for one more connection.
                        _ => std::thread::sleep(Duration::from_millis(2)),
                    }
                }
            });
        }
        // Until it is known how long a signature takes here, and the queue is full.
        while made.load(SeqCst) < 2 * CONNECTIONS {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut at_once = Vec::new();
        let waits = (0..count).map(|_| {
            #[allow(clippy::cast_precision_loss)]
            at_once.push(signer.client().status()?.calls as f64);
            as_user(OTHER, || {
                std::thread::sleep(Duration::from_millis(20));
                let before = made.load(SeqCst);
                let answer = try_ask(socket, &signature())?;
                anyhow::ensure!(matches!(answer, Response::Signature(_)), "{answer:?}");
                #[allow(clippy::cast_precision_loss)]
                let meanwhile = (made.load(SeqCst) - before) as f64;
                Ok(meanwhile)
            })
        });
        let waits: anyhow::Result<Vec<_>> = waits.collect();
        stop.store(true, SeqCst);
        Ok((waits?, median(at_once).max(1.0)))
    })
}

fn signature() -> Request {
    Request::Sign(Sign {
        to_sign: b"message".to_vec().into(),
        uri: Some(format!("pkcs11:token={LABEL};object=p256")),
        pin: None,
    })
}

const CONNECTIONS: usize = 200;
const ACTIVE_USERS: f64 = 2.0;
/// Users of every Debian: daemon and games.
const GREEDY: u32 = 1;
const OTHER: u32 = 5;
