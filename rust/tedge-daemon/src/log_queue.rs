//! Lines on their way to the journal or to stderr, on a thread of their own: who writes to journald's socket
//! or to a pipe waits while nobody reads, and a signer that waits for its log does not sign.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};
use tedge_file::printable;

use crate::cut::cut;

/// A logger that waits for nothing. What does not fit is counted, and the number logged when there is
/// room.
pub(crate) struct LogQueue {
    entries: SyncSender<Entry>,
    left_out: Arc<AtomicU64>,
}

enum Entry {
    /// In a box, because the channel has room for all entries from the start.
    Line(Box<Line>),
    /// All that was sent before is written when this is dropped.
    Flush { _done: SyncSender<()> },
}

/// A [`Record`] that can wait.
struct Line {
    level: Level,
    target: String,
    message: String,
    module: Option<&'static str>,
    file: Option<&'static str>,
    line: Option<u32>,
    fields: Vec<(String, String)>,
}

impl LogQueue {
    /// `write` may block.
    pub(crate) fn start(write: impl Fn(&Record<'_>) + Send + 'static) -> std::io::Result<Self> {
        let (entries, received) = sync_channel(MAX_WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let count = left_out.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(move || run(&received, &count, write))?;
        Ok(Self { entries, left_out })
    }
}

fn run(entries: &Receiver<Entry>, left_out: &AtomicU64, write: impl Fn(&Record<'_>)) {
    for entry in entries {
        if let Entry::Line(line) = entry {
            line.write(&write);
        }
        let count = left_out.swap(0, Relaxed);
        if count > 0 {
            let message = format!("{count} lines are left out: the log did not take them in time");
            Line::warning(message).write(&write);
        }
    }
}

impl Log for LogQueue {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if self
            .entries
            .try_send(Entry::Line(Box::new(record.into())))
            .is_err()
        {
            self.left_out.fetch_add(1, Relaxed);
        }
    }

    /// Waits for what was logged before, for a moment.
    fn flush(&self) {
        let (done, is_done) = sync_channel(0);
        if self.entries.try_send(Entry::Flush { _done: done }).is_ok() {
            // Ends when the other end is dropped.
            let _ = is_done.recv_timeout(FLUSH_LIMIT);
        }
    }
}

impl Line {
    fn warning(message: String) -> Self {
        Self {
            level: Level::Warn,
            target: module_path!().to_owned(),
            message,
            module: Some(module_path!()),
            file: Some(file!()),
            line: None,
            fields: Vec::new(),
        }
    }

    fn write(&self, write: impl Fn(&Record<'_>)) {
        let mut record = Record::builder();
        record
            .level(self.level)
            .target(&self.target)
            .module_path_static(self.module)
            .file_static(self.file)
            .line(self.line)
            .key_values(&self.fields);
        write(&record.args(format_args!("{}", self.message)).build());
    }
}

impl From<&Record<'_>> for Line {
    fn from(record: &Record<'_>) -> Self {
        let mut fields = Fields(Vec::new());
        // Collecting them does not fail.
        let _ = record.key_values().visit(&mut fields);
        Self {
            level: record.level(),
            target: record.target().to_owned(),
            message: cut(&printable(&record.args().to_string()), LINE).into_owned(),
            module: record.module_path_static(),
            file: record.file_static(),
            line: record.line(),
            fields: fields.0,
        }
    }
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = cut(&value.to_string(), FIELD).into_owned();
        self.0.push((key.to_string(), value));
        Ok(())
    }
}

/// Characters of a line, whatever it quotes: texts of others are cut where they are logged, this is for those that
/// somebody forgot.
const LINE: usize = 2048;
/// Of a field.
const FIELD: usize = 1024;
/// Some ten seconds of a user that floods the signer; about a megabyte.
const MAX_WAITING: usize = 1024;
/// For the journal to take what waits when the signer ends.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);
const STACK_SIZE: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_journal_that_does_not_read_keeps_nobody_waiting() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = written.clone();
        let queue = LogQueue::start(move |record| {
            let field = record.key_values().get(Key::from_str("FIELD"));
            let field = field.map(|value| value.to_string());
            lines
                .lock()
                .unwrap()
                .push((record.args().to_string(), field));
        });
        let queue = queue.unwrap();
        let log = |number: usize| {
            let fields = [("FIELD", number)];
            let mut record = Record::builder();
            let record = record.level(Level::Info).key_values(&fields);
            queue.log(&record.args(format_args!("line\n{number}")).build());
        };
        log(0);
        queue.flush();
        let does_not_read = written.lock().unwrap();
        for number in 1..=2 * MAX_WAITING {
            log(number);
        }
        drop(does_not_read);
        queue.flush();
        while written.lock().unwrap().len() < MAX_WAITING {
            std::thread::yield_now();
        }
        log(0);
        queue.flush();
        let written = written.lock().unwrap();
        let first = ("line\u{fffd}0".to_owned(), Some("0".to_owned()));
        assert_eq!(written.first(), Some(&first));
        let left_out = |(text, _): &&(String, Option<String>)| text.contains("lines are left out");
        let left_out: Vec<_> = written.iter().filter(left_out).collect();
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        let count: usize = left_out[0].0.split(' ').next().unwrap().parse().unwrap();
        // Two more are lines 0, one less the line that counts.
        assert_eq!(written.len() - 1 + count, 2 * MAX_WAITING + 2);
    }
}
