//! What systemd is told. On a thread of its own: the socket's queue takes ten messages, and who sends
//! one more waits for systemd to read, for as long as that takes.

use std::sync::mpsc::{SyncSender, sync_channel};

use sd_notify::NotifyState;
use tedge_file::printable;

/// Tells systemd how it goes, and waits for nothing.
#[derive(Debug)]
pub struct Notifier {
    messages: SyncSender<String>,
}

impl Notifier {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Self> {
        let (messages, received) = sync_channel::<String>(MAX_WAITING);
        std::thread::Builder::new()
            .name("notify".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                for message in received {
                    if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
                        log::debug!("cannot notify systemd: {error}");
                    }
                }
            })?;
        Ok(Self { messages })
    }

    /// What systemd does not read in time is dropped.
    pub fn tell(&self, state: &[NotifyState<'_>]) {
        if self.messages.try_send(message(state)).is_err() {
            log::debug!("systemd does not read its notification socket");
        }
    }
}

/// A line for each: what a status quotes must not add another one.
fn message(state: &[NotifyState<'_>]) -> String {
    let lines: Vec<_> = state
        .iter()
        .map(|line| printable(&line.to_string()))
        .collect();
    lines.join("\n")
}

const MAX_WAITING: usize = 16;
const STACK_SIZE: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        let status = "the old configuration is in force: /x\nMAINPID=1\r\u{85}\u{202e}";
        let message = message(&[NotifyState::Status(status), NotifyState::Watchdog]);
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(lines.len(), 2, "{message}");
        assert!(lines[0].starts_with("STATUS=") && lines[1] == "WATCHDOG=1");
        assert!(
            !lines[0].contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{message}"
        );
    }
}
