//! What systemd is told. On a thread of its own: the socket's queue takes ten messages, and who sends
//! one more waits for systemd to read, for as long as that takes.

use std::fmt::Write as _;
use std::sync::mpsc::{SyncSender, sync_channel};

use sd_notify::NotifyState;

/// Tells systemd how it goes, and waits for nothing.
#[derive(Debug)]
pub(crate) struct Notifier {
    messages: SyncSender<String>,
}

impl Notifier {
    pub(crate) fn start() -> std::io::Result<Self> {
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
    pub(crate) fn tell(&self, state: &[NotifyState<'_>]) {
        let mut message = String::new();
        for line in state {
            let separator = if message.is_empty() { "" } else { "\n" };
            // Writing to a String does not fail.
            let _ = write!(message, "{separator}{line}");
        }
        if self.messages.try_send(message).is_err() {
            log::debug!("systemd does not read what it is told");
        }
    }
}

const MAX_WAITING: usize = 16;
const STACK_SIZE: usize = 128 * 1024;
