//! What a full token costs: the rate with 1,000 objects beside that with the key pair alone.

use std::path::{Path, PathBuf};

use cryptoki::object::{Attribute, ObjectClass};
use serde::Serialize;
use support::hsm::PIN;
use support::{Hsm, Kind, Signer};

use crate::Args;
use crate::session;
use crate::target::Target;
use crate::task::Task;
use crate::turns::Turns;
use crate::way::Way;

#[derive(Serialize)]
pub struct Result {
    few_objects: usize,
    few_rate: f64,
    many_objects: usize,
    many_rate: f64,
    ratio: f64,
    /// The same of C_Sign in one process.
    module_ratio: f64,
}

/// One client, frames, two SoftHSMs that differ in nothing but the number of objects. C_Sign in one process
/// tells what is the module's own.
pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Result> {
    let tokens = [FEW, MANY].map(start);
    let tokens = tokens.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let (rounds, duration) = args.fine_rounds();
    let turns = Turns::measure(2 * tokens.len(), rounds, |number| {
        let (hsm, signer) = &tokens[number % tokens.len()];
        let (way, place) = if number < tokens.len() {
            (Way::Frames, signer.socket().to_owned())
        } else {
            (Way::Floor, hsm.module())
        };
        let task = Task::Sign {
            way,
            place,
            key: KEY.to_owned(),
            clients: 1,
            duration,
        };
        task.measure(hsm)
    })?;
    let result = Result {
        few_objects: FEW,
        few_rate: turns.median(0, |m| m.rate),
        many_objects: MANY,
        many_rate: turns.median(1, |m| m.rate),
        ratio: turns.ratio(1, |m| m.rate),
        module_ratio: turns.ratio(3, |m| m.rate) / turns.ratio(2, |m| m.rate),
    };
    println!("\nobjects on the token (SoftHSM2, P-256, 1 client, frames)");
    println!("{FEW:>8} objects {:>9.0} 1/s", result.few_rate);
    println!(
        "{MANY:>8} objects {:>9.0} 1/s {:>6.1}%  >=95%",
        result.many_rate,
        result.ratio * 100.0
    );
    let module = result.module_ratio * 100.0;
    println!("{:>8} C_Sign in one process {module:>8.1}%", "");
    targets.push(Target::at_least(
        format!("rate with {MANY} objects on the token, of that with {FEW}"),
        result.ratio * 100.0,
        95.0,
        "%",
    ));
    Ok(result)
}

fn start(objects: usize) -> anyhow::Result<(Hsm, Signer)> {
    let hsm = Hsm::start_in(Kind::SoftHsm, &PathBuf::from("/dev/shm"));
    hsm.create_key(KEY, KEY);
    let task = Task::AddObjects {
        module: hsm.module(),
        // The key pair is two.
        count: objects - 2,
    };
    task.output(&hsm)?;
    let signer = Signer::start(&hsm);
    Ok((hsm, signer))
}

/// Data objects, half of them private, as applications keep them beside keys.
pub fn add(module: &Path, count: usize) -> anyhow::Result<()> {
    let (pkcs11, slot, _logged_in) = session::log_in(module, PIN)?;
    let session = pkcs11.open_rw_session(slot)?;
    for number in 0..count {
        session.create_object(&[
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(number % 2 == 0),
            Attribute::Label(format!("object {number}").into_bytes()),
            Attribute::Value(vec![0; 64]),
        ])?;
    }
    Ok(())
}

const KEY: &str = "p256";
const FEW: usize = 2;
const MANY: usize = 1000;
