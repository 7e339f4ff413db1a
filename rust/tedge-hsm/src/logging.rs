//! Warnings of the libraries go to stderr, one line each.

use log::{LevelFilter, Log, Metadata, Record};

use crate::output::note;

pub(crate) fn init() {
    // Fails only if there is a logger already.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(LevelFilter::Warn);
}

struct Stderr;

impl Log for Stderr {
    /// rustls tells of failed handshakes here too; the command says it better.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tedge_")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            note(format_args!("tedge-hsm: {}", record.args()));
        }
    }

    fn flush(&self) {}
}
