//! Where PINs come from: a file, the environment, or the person at the terminal.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use tedge_p11_client::{Pin, Uri};

use crate::prompt;

/// The user PIN, if one is given: by file, by environment, or by the URI, out of which it is taken.
pub(crate) fn given(file: Option<&Path>, uri: Option<&mut Uri>) -> anyhow::Result<Option<Pin>> {
    let uri_pin = uri.and_then(|uri| uri.pin.take());
    if let Some(file) = file {
        return Ok(Some(Pin::read_file(file)?));
    }
    if let Some(source) = uri_pin {
        return Ok(Some(source.read()?));
    }
    from_env(USER_VARIABLE)
}

/// The user PIN that is to be changed: given, or asked for.
pub(crate) fn old_user_pin(file: Option<&Path>, uri: Option<&mut Uri>) -> anyhow::Result<Pin> {
    match given(file, uri)? {
        Some(pin) => Ok(pin),
        None => ask("user PIN", USER_SOURCES),
    }
}

/// The PIN that the security officer has.
pub(crate) fn so_pin(file: Option<&Path>) -> anyhow::Result<Pin> {
    match given_so_pin(file)? {
        Some(pin) => Ok(pin),
        None => ask("SO PIN", SO_SOURCES),
    }
}

/// The security officer's PIN for a new token.
pub(crate) fn new_so_pin(file: Option<&Path>) -> anyhow::Result<Pin> {
    match given_so_pin(file)? {
        Some(pin) => Ok(pin),
        None => ask_twice("new SO PIN", SO_SOURCES),
    }
}

/// The user's PIN for a new token, when none is given.
pub(crate) fn new_user_pin() -> anyhow::Result<Pin> {
    ask_twice("new user PIN", USER_SOURCES)
}

/// The PIN that takes the place of another.
pub(crate) fn new_pin(file: Option<&Path>) -> anyhow::Result<Pin> {
    match file {
        Some(file) => Ok(Pin::read_file(file)?),
        None => ask_twice("new PIN", "--new-pin-file"),
    }
}

fn given_so_pin(file: Option<&Path>) -> anyhow::Result<Option<Pin>> {
    match file {
        Some(file) => Ok(Some(Pin::read_file(file)?)),
        None => from_env("TEDGE_DEVICE_CRYPTOKI_SO_PIN"),
    }
}

fn from_env(name: &str) -> anyhow::Result<Option<Pin>> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Some(Pin::new(value)?)),
        _ => Ok(None),
    }
}

fn ask_twice(what: &str, otherwise: &str) -> anyhow::Result<Pin> {
    let pin = ask(what, otherwise)?;
    if pin != ask(&format!("{what}, again"), otherwise)? {
        bail!("the two PINs differ");
    }
    Ok(pin)
}

/// Whether there is a terminal to ask at.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

fn ask(what: &str, otherwise: &str) -> anyhow::Result<Pin> {
    if !can_ask() {
        bail!("the {what} is needed and there is no terminal to read it from; give {otherwise}");
    }
    prompt::ask(what).with_context(|| format!("cannot read the {what}"))
}

/// After a user PIN was changed.
pub(crate) const REMINDER: &str = "the user PIN is changed; if tedge-p11-server is configured with the old one, \
                        configure the new one";
const USER_VARIABLE: &str = "TEDGE_DEVICE_CRYPTOKI_PIN";
const USER_SOURCES: &str = "--pin-file or TEDGE_DEVICE_CRYPTOKI_PIN";
const SO_SOURCES: &str = "--so-pin-file or TEDGE_DEVICE_CRYPTOKI_SO_PIN";
