//! What is told to the person: results on standard output, the rest on standard error.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use anyhow::anyhow;
use x509_cert::der::pem::{LineEnding, encode_string};

/// Prints a line to standard output. Unlike `println!`, it doesn't panic when nobody reads it.
pub(crate) fn say(line: impl Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Prints a listing as JSON.
pub(crate) fn say_json(listing: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(say(serde_json::to_string_pretty(listing)?)?)
}

pub(crate) fn pem(label: &str, der: &[u8]) -> anyhow::Result<String> {
    encode_string(label, LineEnding::LF, der)
        .map_err(|error| anyhow!("cannot encode the {label}: {error}"))
}

/// Tells the person something that is no result. That nobody reads it is no failure.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A duration as people compare them.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
