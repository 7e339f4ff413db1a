//! Logs to the journal when connected to it, to stderr otherwise.

use std::io::Write as _;

use anyhow::Context as _;
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::log_queue::LogQueue;

pub(crate) fn init(level: LevelFilter) -> anyhow::Result<()> {
    if connected_to_journal() {
        let journal = JournalLog::new().context("cannot log to the journal")?;
        let queue = LogQueue::start(move |record| journal.log(record));
        let queue = queue.context("cannot start a thread")?;
        log::set_boxed_logger(Box::new(queue)).context("cannot log to the journal")?;
    } else {
        log::set_logger(&Stderr).context("cannot log to stderr")?;
    }
    log::set_max_level(level);
    Ok(())
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        // In one piece, since stderr is not buffered; and not by eprintln!, which panics when stderr
        // is closed.
        let text = one_line(&record.args().to_string());
        let line = format!("tedge-p11-server: {level}: {text}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// What is quoted in `text`, from a file or of a module, must not begin a line of its own.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
