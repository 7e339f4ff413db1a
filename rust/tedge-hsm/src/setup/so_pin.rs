//! The security officer's PIN, which a new token gets.

use std::path::PathBuf;

use anyhow::Context as _;
use tedge_p11_client::Pin;

use super::context::Setup;
use super::seal::{Secret, random_pin};

/// The one that was given, else the one of an earlier run, else one made at random and kept, and where it is kept.
/// What a token has must not be lost with a run that is cut off.
pub(super) fn get(setup: &Setup) -> anyhow::Result<(Pin, PathBuf)> {
    if let Some(file) = &setup.wanted.so_pin_file {
        let pin = Pin::read_file(file).context("the security officer's PIN")?;
        return Ok((pin, file.clone()));
    }
    if let Some(kept) = SO_PIN.find(&setup.root)? {
        return Ok((SO_PIN.read(&kept)?, kept.path().to_owned()));
    }
    // A SmartCard-HSM takes no other length.
    let pin = random_pin(16)?;
    let kept = SO_PIN.keep(setup, &pin)?;
    Ok((pin, kept.path().to_owned()))
}

const SO_PIN: Secret = Secret {
    file: "tedge-hsm.so-pin",
    name: "so-pin",
};
