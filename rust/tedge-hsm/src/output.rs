//! What is told to the person: results on standard output, the rest on standard error.

use std::fmt::{Display, Write as _};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::anyhow;
use tedge_file::printable_lines;
use x509_cert::der::pem::{LineEnding, encode_string};

/// Prints a line to standard output. Unlike `println!`, it doesn't panic when nobody reads it, and nothing in it
/// reaches the terminal that this could obey, whoever chose the text.
pub(crate) fn say(line: impl Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{}", printable_lines(&line.to_string()))
}

/// Prints a listing as JSON.
pub(crate) fn say_json(listing: &impl serde::Serialize) -> anyhow::Result<()> {
    // Escapes as JSON has them, so that nothing of a text is lost.
    let text = serde_json::to_string_pretty(listing)?;
    Ok(writeln!(std::io::stdout(), "{}", escaped(&text))?)
}

/// JSON with what a terminal could obey as `\\uXXXX` (RFC 8259, section 7). serde_json does that for what is below
/// U+0020 only; outside of strings there is nothing to be escaped but ends of lines.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if printable_lines(c.encode_utf8(&mut [0; 4])).starts_with(c) {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A String takes everything.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// What JSON has for a text: null in place of an empty one, for `serialize_with`.
pub(crate) fn or_null<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&present(text), serializer)
}

/// The text, unless it is empty.
pub(crate) fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

pub(crate) fn pem(label: &str, der: &[u8]) -> anyhow::Result<String> {
    encode_string(label, LineEnding::LF, der)
        .map_err(|error| anyhow!("cannot encode the {label}: {error}"))
}

/// Tells the person something that is no result. That nobody reads it is no failure.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{}", printable_lines(&line.to_string()));
}

/// Standard error, also while the libraries' lines are kept out of it.
pub(crate) fn stderr() -> Box<dyn Write> {
    match OWN_STDERR.get() {
        Some(own) => Box::new(own),
        None => Box::new(std::io::stderr()),
    }
}

/// From now on what libraries in C write to standard error, as PKCS#11 modules and those below them do, is
/// dropped: between our lines it would be taken for one of them.
pub(crate) fn keep_libraries_out() -> std::io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    let own = std::io::stderr().as_fd().try_clone_to_owned()?;
    if OWN_STDERR.set(own.into()).is_ok() {
        rustix::stdio::dup2_stderr(null)?;
        // Else it would be dropped, too.
        std::panic::set_hook(Box::new(|panic| note(panic)));
    }
    Ok(())
}

static OWN_STDERR: OnceLock<File> = OnceLock::new();

/// The failure of a command that has told all itself: nothing more is printed.
#[derive(Debug, thiserror::Error)]
#[error("it failed")]
pub(crate) struct AlreadyTold;

/// A duration as people compare them.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_loses_nothing_and_tells_a_terminal_nothing() {
        let text = "a\x1b[2J\u{9b}\u{202e}\u{e0041}ä\n";
        let json = escaped(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(
            !json.contains(['\x1b', '\u{9b}', '\u{202e}', '\u{e0041}']),
            "{json:?}"
        );
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text]);
    }
}
