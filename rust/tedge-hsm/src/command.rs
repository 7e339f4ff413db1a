//! The commands.

pub(crate) mod connect;
pub(crate) mod create_key;
pub(crate) mod csr;
pub(crate) mod init;
pub(crate) mod list_keys;
pub(crate) mod list_tokens;

use std::io::Write as _;

use crate::args::{Args, Command};
use crate::store::Store;

/// Runs the command that was asked for.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let place = &args.place;
    let store = Store::open(place)?;
    match args.command {
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
