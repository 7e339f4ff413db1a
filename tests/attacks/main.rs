//! `make attacks`: what a member of group tedge can do to the others, tried against the signer as it ships, with the
//! policy that it has without a file. Each attack has a line: what was tried, what came of it. Exit status: 0, none
//! succeeded; 1, one did; 77, it can't run here.
//!
//! The attacker is uid 2001, the victim uid 2002, both ordinary members of the group that the socket is of; the
//! attacker has uids 100000 and up besides, as a subordinate range gives them. They are threads: SO_PEERCRED tells who
//! the thread was that connected. Only the user database that this program and the signer see has the two.

mod guessing;
mod members;
mod starving;

use std::process::ExitCode;

use members::Members;

fn main() -> ExitCode {
    let members = match Members::find() {
        Ok(members) => members,
        Err(end) => return end,
    };
    let attacks: [fn(Members) -> Attack; 11] = [
        guessing::by_one_user,
        guessing::by_eight_uids,
        guessing::to_lock_others_out,
        starving::a_slow_token,
        starving::by_many_uids,
        starving::by_silent_connections,
        starving::the_log,
        starving::the_log_while_guessing,
        members::opening_the_socket,
        members::signing_something_else,
        members::naming_a_file,
    ];
    let mut succeeded = 0;
    for attack in attacks {
        let Attack { tried, came, held } = attack(members);
        let verdict = if held { "held" } else { "SUCCEEDED" };
        println!("{verdict}: {tried}: {came}");
        succeeded += usize::from(!held);
    }
    ExitCode::from(u8::from(succeeded > 0))
}

/// What was tried, and what came of it.
struct Attack {
    tried: &'static str,
    came: String,
    held: bool,
}
