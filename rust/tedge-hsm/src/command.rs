//! The commands.

pub(crate) mod connect;
pub(crate) mod create_key;
pub(crate) mod csr;
pub(crate) mod doctor;
pub(crate) mod hsms;
pub(crate) mod init;
pub(crate) mod list_keys;
pub(crate) mod list_tokens;

use std::io::Write as _;

use crate::args::{AnyCommand, Args, Command, Place};
use crate::hsm;
use crate::store::Store;

/// Runs the command that was asked for.
pub(crate) fn run(mut args: Args) -> anyhow::Result<()> {
    match args.command {
        AnyCommand::Doctor(doctor) => doctor::run(&args.place, doctor),
        AnyCommand::Hsms(hsms) => hsms::run(&hsms),
        AnyCommand::OnTokens(command) => {
            hsm::choose(&mut args.place)?;
            run_on_tokens(command, &args.place)
        }
    }
}

fn run_on_tokens(command: Command, place: &Place) -> anyhow::Result<()> {
    let store = Store::open(place)?;
    match command {
        Command::Init(args) => init::run(&store, place, &args),
        Command::CreateKey(args) => create_key::run(&store, place, args),
        Command::ListTokens => list_tokens::run(&store),
        Command::ListKeys(args) => list_keys::run(&store, place, args),
        Command::Csr(args) => csr::run(&store, place, args),
        Command::Connect(args) => connect::run(store, place, args),
    }
}

/// Prints a line to standard output. Unlike `println!`, it doesn't panic when nobody reads it.
fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}
