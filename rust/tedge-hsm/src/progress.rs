//! A line at the terminal while something takes long.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Shows on standard error what is being done and since when, if that is a terminal. The line is cleared
/// when this is dropped.
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    pub(crate) fn start(what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            while {
                show(&format!("\r{what} {} s", started.elapsed().as_secs()));
                ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout)
            } {}
            // Back to the beginning, and EL (ECMA-48, section 8.3.41): erase the line.
            show("\r\x1b[K");
        });
        Self(Some((end, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            // A thread that panicked has only lost its line.
            let _ = thread.join();
        }
    }
}

/// Not eprint!, which panics when stderr is closed.
fn show(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
