//! Where PINs come from: a file, the environment, or the person at the terminal.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use tedge_p11_client::{Pin, Uri};

/// The user PIN, if one is given: by file, by environment, or by the URI, out of which it is taken.
pub(crate) fn given(file: Option<&Path>, uri: Option<&mut Uri>) -> anyhow::Result<Option<Pin>> {
    let uri_pin = uri.and_then(|uri| uri.pin.take());
    if let Some(file) = file {
        return Ok(Some(Pin::read_file(file)?));
    }
    if let Some(source) = uri_pin {
        return Ok(Some(source.read()?));
    }
    from_env("TEDGE_DEVICE_CRYPTOKI_PIN")
}

/// The security officer's PIN for a new token.
pub(crate) fn new_so_pin(file: Option<&Path>) -> anyhow::Result<Pin> {
    if let Some(file) = file {
        return Ok(Pin::read_file(file)?);
    }
    match from_env("TEDGE_DEVICE_CRYPTOKI_SO_PIN")? {
        Some(pin) => Ok(pin),
        None => ask_twice(
            "PIN for the security officer",
            "--so-pin-file or TEDGE_DEVICE_CRYPTOKI_SO_PIN",
        ),
    }
}

/// The user's PIN for a new token, when none is given.
pub(crate) fn new_user_pin() -> anyhow::Result<Pin> {
    ask_twice(
        "PIN for the user",
        "--pin-file or TEDGE_DEVICE_CRYPTOKI_PIN",
    )
}

fn from_env(name: &str) -> anyhow::Result<Option<Pin>> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Some(Pin::new(value)?)),
        _ => Ok(None),
    }
}

fn ask_twice(what: &str, otherwise: &str) -> anyhow::Result<Pin> {
    if !std::io::stdin().is_terminal() {
        bail!("the {what} is needed and there is no terminal to ask at; give {otherwise}");
    }
    let ask = |prompt: String| -> anyhow::Result<Pin> {
        let typed = rpassword::prompt_password(prompt).context("cannot read the PIN")?;
        Ok(Pin::new(typed)?)
    };
    let pin = ask(format!("{what}: "))?;
    if pin != ask(format!("{what}, again: "))? {
        bail!("the two PINs differ");
    }
    Ok(pin)
}
