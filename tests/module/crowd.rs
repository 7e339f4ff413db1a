//! Many processes of one user, each with several threads, against one TPM.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use support::hsm::PIN;
use support::signer::ALL_ALLOWED;
use support::{Hsm, Kind, Signer};

use crate::rig::{Rig, module};

const PROCESSES: usize = 16;

/// Without an error, and with a share for each; when the signer is killed, with errors, and then as before.
#[test]
fn sixteen_processes_with_four_threads_each() {
    let mut rig = Rig::start_on(
        Hsm::start(Kind::Tpm2),
        &["p256"],
        ALL_ALLOWED,
        &["--pin", PIN],
    );
    let mut crowd = Crowd::start(&rig);
    // All have begun.
    crowd.until(|counts| counts.iter().all(|count| count.signed >= 1));
    let began = crowd.counts;
    crowd.until(|counts| {
        let all = counts
            .iter()
            .zip(&began)
            .map(|(now, began)| now.signed - began.signed);
        all.sum::<usize>() >= 20 * PROCESSES
    });
    let shares: Vec<_> = crowd
        .counts
        .iter()
        .zip(&began)
        .map(|(now, began)| now.signed - began.signed)
        .collect();
    println!("signatures of each process: {shares:?}");
    let failed: usize = crowd.counts.iter().map(|count| count.failed).sum();
    assert_eq!(failed, 0, "errors");
    let (fewest, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(most <= &(3 * fewest), "{shares:?}");

    rig.kill_signer();
    crowd.until(|counts| counts.iter().all(|count| count.failed >= 1));
    let began = crowd.counts;
    rig.signer = Signer::start(&rig.hsm);
    crowd.until(|counts| {
        counts
            .iter()
            .zip(&began)
            .all(|(now, began)| now.signed >= began.signed + 5)
    });
    crowd.end();
}

/// What a process has done.
#[derive(Clone, Copy, Default, Debug)]
struct Count {
    signed: usize,
    failed: usize,
}

struct Crowd {
    processes: Vec<Child>,
    /// What a process did since it last told, and none when it has ended.
    done: Receiver<(usize, Option<Count>)>,
    counts: [Count; PROCESSES],
}

impl Crowd {
    fn start(rig: &Rig) -> Self {
        let program = rig.program_in_c();
        let (tell, done) = channel();
        let processes = (0..PROCESSES).map(|number| {
            let mut process = rig
                .uses(&program)
                .arg(module())
                .arg("crowd")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdout = process.stdout.take().unwrap();
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 256];
                while let Ok(len @ 1..) = stdout.read(&mut bytes) {
                    // One more piece than there are errors.
                    let pieces = bytes[..len].split(|byte| *byte == b'x');
                    let failed = pieces.count() - 1;
                    let signed = len - failed;
                    if tell.send((number, Some(Count { signed, failed }))).is_err() {
                        return;
                    }
                }
                let _ = tell.send((number, None));
            });
            process
        });
        Self {
            processes: processes.collect(),
            done,
            counts: [Count::default(); PROCESSES],
        }
    }

    /// Counts until `enough`.
    fn until(&mut self, enough: impl Fn(&[Count]) -> bool) {
        while !enough(&self.counts) {
            let told = self.done.recv_timeout(Duration::from_secs(120));
            let (number, new) = told.unwrap_or_else(|why| panic!("{why}: {:?}", self.counts));
            let new = new.unwrap_or_else(|| panic!("process {number} ended: {:?}", self.counts));
            let count = &mut self.counts[number];
            count.signed += new.signed;
            count.failed += new.failed;
        }
    }

    /// Each ends by itself, without a complaint.
    fn end(mut self) {
        for process in &mut self.processes {
            drop(process.stdin.take());
        }
        for process in &mut self.processes {
            let status = process.wait().unwrap();
            assert!(status.success(), "{status}");
        }
    }
}
