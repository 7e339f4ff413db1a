//! What the daemons share: how they log, to the journal when they are connected to it and to stderr
//! otherwise, and what they tell systemd. Each entry is one line, and nobody waits for it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod cut;
mod log_queue;
mod notify;
mod stderr;

use std::io::{self, Write as _};

use log::{LevelFilter, SetLoggerError};
use systemd_journal_logger::{JournalLog, connected_to_journal};
use tedge_file::printable;

pub use crate::cut::{CLIENT_TEXT, OWN_TEXT, cut};
use crate::log_queue::LogQueue;
pub use crate::notify::Notifier;

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The journal is there, and its socket can't be had.
    #[error("cannot log to the journal")]
    Journal(#[source] io::Error),
    /// The thread that writes.
    #[error("cannot start a thread that writes the log")]
    Thread(#[source] io::Error),
    /// The process has a logger.
    #[error("cannot log")]
    Logger(#[source] SetLoggerError),
}

/// Logs from now on what is of `level` or above it. On stderr, `program` begins each line. What was logged
/// last is written by [`log::Log::flush`] of [`log::logger`].
pub fn init(program: &'static str, level: LevelFilter) -> Result<(), LogError> {
    let queue = if connected_to_journal() {
        let journal = JournalLog::new().map_err(LogError::Journal)?;
        LogQueue::start(move |record| log::Log::log(&journal, record))
    } else {
        LogQueue::start(move |record| stderr::write(program, record))
    };
    let queue = queue.map_err(LogError::Thread)?;
    log::set_boxed_logger(Box::new(queue)).map_err(LogError::Logger)?;
    log::set_max_level(level);
    Ok(())
}

/// The last line of a program that fails, on stderr, after all that it has logged.
pub fn end(program: &str, error: &str) {
    log::logger().flush();
    // Not eprintln!, which panics when stderr is closed.
    let _ = writeln!(io::stderr(), "{program}: {}", printable(error));
}
