//! Lines on stderr.

use std::io::Write as _;

use log::Record;

/// In one piece, since stderr is not buffered; and not by eprintln!, which panics when stderr is closed. The
/// queue has made one line of the message.
pub(crate) fn write(program: &str, record: &Record<'_>) {
    let level = record.level().as_str().to_ascii_lowercase();
    let line = format!("{program}: {level}: {}\n", record.args());
    let _ = std::io::stderr().write_all(line.as_bytes());
}
