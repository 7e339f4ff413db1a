//! The commands.

mod connect;
mod csr;

use std::io::Write as _;

use crate::args::{Args, Command, CreateKey, Init, ListKeys, Place};
use crate::pins;
use crate::store::Store;

/// Runs the command that was asked for.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let place = &args.place;
    let store = Store::open(place)?;
    match args.command {
        Command::Init(init) => init_token(&store, place, &init),
        Command::CreateKey(create) => create_key(&store, place, create),
        Command::ListTokens => list_tokens(&store),
        Command::ListKeys(list) => list_keys(&store, place, list),
        Command::Csr(args) => csr::run(&store, place, args),
        Command::Connect(args) => connect::run(store, place, args),
    }
}

/// Prints a line to standard output. Unlike `println!`, it doesn't panic when nobody reads it.
fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

fn init_token(store: &Store, place: &Place, init: &Init) -> anyhow::Result<()> {
    let tokens = store.tokens()?;
    if let Some(token) = tokens
        .iter()
        .find(|t| t.initialized && t.label == init.label)
    {
        eprintln!("a token has the label already; it is left as it is");
        return Ok(say(&token.uri)?);
    }
    let so_pin = pins::new_so_pin(init.so_pin_file.as_deref())?;
    let pin = match pins::given(place.pin_file.as_deref(), None)? {
        Some(pin) => pin,
        None => pins::new_user_pin()?,
    };
    Ok(say(store.init_token(
        init.uri.as_ref(),
        &init.label,
        so_pin,
        pin,
    )?)?)
}

fn create_key(store: &Store, place: &Place, mut create: CreateKey) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), create.uri.as_mut())?;
    let keys = store.keys(create.uri.as_ref(), pin.as_ref())?;
    let existing = keys
        .iter()
        .find(|key| key.class == "private" && key.label == create.label);
    if let Some(key) = existing {
        eprintln!("a key has the label already; it is left as it is");
        return Ok(say(&key.uri)?);
    }
    let uri = store.create_key(
        create.uri.as_ref(),
        pin.as_ref(),
        create.key_type.into(),
        &create.label,
        create.id.map(|id| id.0),
    )?;
    Ok(say(uri)?)
}

fn list_tokens(store: &Store) -> anyhow::Result<()> {
    let tokens = store.tokens()?;
    if tokens.is_empty() && matches!(store, Store::Signer(_)) {
        eprintln!("the signer sees no token: is the device plugged in? Its log says more");
    }
    for token in tokens {
        let state = if token.initialized {
            "initialised"
        } else {
            "blank"
        };
        say(format_args!("{}\tslot {}\t{state}", token.uri, token.slot))?;
    }
    Ok(())
}

fn list_keys(store: &Store, place: &Place, mut list: ListKeys) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), list.uri.as_mut())?;
    for key in store.keys(list.uri.as_ref(), pin.as_ref())? {
        say(format_args!("{}\t{}\t{}", key.uri, key.class, key.key_type))?;
    }
    Ok(())
}
