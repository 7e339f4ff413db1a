//! Messages that are dropped: counted, and told of in few lines. Whoever may publish could otherwise fill the log
//! with messages that can't be forwarded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::broker_role::BrokerRole;
use crate::packet::{Defect, Unusable};

/// What one profile has dropped.
#[derive(Debug)]
pub(crate) struct Drops {
    /// For the log.
    name: String,
    total: u64,
    /// By the broker that the messages came from.
    told: BTreeMap<(BrokerRole, Defect), Minute>,
}

/// Some time, in which so many lines are written.
#[derive(Debug)]
struct Minute {
    start: Instant,
    lines: u32,
    left_out: u64,
    /// Of what was left out, in bytes.
    len: usize,
}

impl Drops {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            total: 0,
            told: BTreeMap::new(),
        }
    }

    /// How many so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// A message is dropped without a word.
    pub(crate) fn count(&mut self) {
        self.total += 1;
    }

    /// A message of `broker` is dropped for what is wrong with it. Its line is cut, and there are only so many a
    /// minute: the rest is counted.
    pub(crate) fn tell(&mut self, broker: BrokerRole, message: &Unusable) {
        self.total += 1;
        let now = Instant::now();
        let minute = self.told.entry((broker, message.defect)).or_insert(Minute {
            start: now,
            lines: 0,
            left_out: 0,
            len: 0,
        });
        if minute.lines == LINES {
            minute.left_out += 1;
            minute.len += message.len;
            return;
        }
        minute.lines += 1;
        log::error!(
            "{}: {} sent a message that {}: dropped",
            self.name,
            broker,
            message.description()
        );
    }

    /// Tells what was left out of minutes that are over.
    pub(crate) fn report(&mut self) {
        self.report_older_than(MINUTE);
    }

    /// Tells all that was left out.
    pub(crate) fn report_all(&mut self) {
        self.report_older_than(Duration::ZERO);
    }

    fn report_older_than(&mut self, age: Duration) {
        let name = &self.name;
        self.told.retain(|(broker, defect), minute| {
            let is_over = minute.start.elapsed() >= age;
            if is_over && minute.left_out > 0 {
                log::error!(
                    "{name}: {broker} sent {} more such messages with {} bytes, each of which {defect}: dropped",
                    minute.left_out,
                    minute.len
                );
            }
            !is_over
        });
    }
}

/// Written in a minute, of one kind.
const LINES: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted() {
        let mut drops = Drops::new("test");
        let message = |defect| Unusable {
            topic: "t".to_owned(),
            len: 100,
            id: None,
            defect,
        };
        for _ in 0..1000 {
            drops.tell(BrokerRole::Local, &message(Defect::TooLong));
        }
        drops.tell(BrokerRole::Local, &message(Defect::NotUtf8));
        let minute = &drops.told[&(BrokerRole::Local, Defect::TooLong)];
        assert_eq!(
            (minute.lines, minute.left_out, minute.len),
            (10, 990, 99_000)
        );
        let minute = &drops.told[&(BrokerRole::Local, Defect::NotUtf8)];
        assert_eq!((minute.lines, minute.left_out), (1, 0));
        drops.report();
        assert_eq!((drops.told.len(), drops.total()), (2, 1001));
        drops.report_all();
        assert!(drops.told.is_empty());
    }
}
