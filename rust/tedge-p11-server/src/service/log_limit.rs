//! How much of the log one user can cause. journald drops lines of a service that writes too many, and keeps a
//! journal of limited size: without a limit here, who floods the signer could keep lines of others out of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tedge_p11_config::Account;

/// Lets through so many lines and bytes a user and second, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    users: Mutex<HashMap<Account, Second>>,
    hasher: RandomState,
}

/// A line that somebody would like to log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// What was done.
    pub(crate) operation: &'static str,
    /// How it ended.
    pub(crate) outcome: &'static str,
    /// What went wrong, if something did: the same twice in a second is a repetition, which is counted.
    pub(crate) reason: Option<&'a str>,
    /// Bytes of the line and of its fields.
    pub(crate) len: usize,
}

#[derive(Debug)]
struct Second {
    start: Instant,
    lines: u32,
    bytes: usize,
    /// Hashes of what went wrong; as many as lines, at most.
    reasons: HashSet<u64>,
    /// By what was done and how it ended.
    left_out: BTreeMap<(&'static str, &'static str), u64>,
}

impl LogLimit {
    /// Whether a line on what `account` did is to be written. One that is not is counted.
    pub(crate) fn allows(&self, account: Account, line: Line<'_>) -> bool {
        let (allowed, over) = self.count(account, line);
        if let Some(over) = over {
            over.report(account);
        }
        allowed
    }

    /// Whether it is to be written, and the second before if it is over: logging may take its time, and
    /// must not keep others waiting for the lock.
    fn count(&self, account: Account, line: Line<'_>) -> (bool, Option<Second>) {
        let reason = line
            .reason
            .map(|reason| self.hasher.hash_one((line.operation, reason)));
        let now = Instant::now();
        let mut users = self.users();
        let second = users.entry(account).or_insert_with(|| Second::new(now));
        let is_over = now.duration_since(second.start) >= SECOND;
        let over = is_over.then(|| std::mem::replace(second, Second::new(now)));
        (second.takes(line, reason), over)
    }

    /// Logs what was left out of seconds that are over, and forgets them.
    pub(crate) fn flush(&self) {
        for (account, second) in self.take_over() {
            second.report(account);
        }
    }

    fn take_over(&self) -> Vec<(Account, Second)> {
        let mut over = Vec::new();
        self.users().retain(|account, second| {
            let is_over = second.start.elapsed() >= SECOND;
            if is_over {
                let empty = Second::new(second.start);
                over.push((*account, std::mem::replace(second, empty)));
            }
            !is_over
        });
        over
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Account, Second>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Second {
    fn new(start: Instant) -> Self {
        Self {
            start,
            lines: 0,
            bytes: 0,
            reasons: HashSet::new(),
            left_out: BTreeMap::new(),
        }
    }

    fn takes(&mut self, line: Line<'_>, reason: Option<u64>) -> bool {
        let fits = self.lines < LINES && self.bytes + line.len <= BYTES;
        let takes = fits && reason.is_none_or(|reason| self.reasons.insert(reason));
        if takes {
            self.lines += 1;
            self.bytes += line.len;
        } else {
            let what = (line.operation, line.outcome);
            *self.left_out.entry(what).or_default() += 1;
        }
        takes
    }

    fn report(&self, account: Account) {
        let peer_uid = match account {
            Account::User(uid) => uid.to_string(),
            Account::Nameless => String::new(),
        };
        let peer_uid = peer_uid.as_str();
        for ((operation, outcome), count) in &self.left_out {
            log::warn!(
                OPERATION = *operation,
                OUTCOME = *outcome,
                PEER_UID = peer_uid,
                COUNT = *count;
                "{count} more requests of {account} within a second: {operation} {outcome}"
            );
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// journald takes 10,000 lines of a service in 30 seconds by default: this leaves room for three users
/// that flood.
const LINES: u32 = 100;
/// What as many lines take that are about a key with a URI of 200 bytes. Whoever has all of it all the time fills
/// journald's default of 4 GB in 18 hours.
const BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_others_their_lines() {
        let limit = LogLimit::default();
        // The test may itself take longer than a second.
        assert!((100..1000).contains(&allowed(&limit, 1, 100, |_| None)));
        assert!(allowed(&limit, 2, 100, |_| None) >= 100);
        assert!(limit.users()[&Account::User(1)].left_out[&("sign", "failed")] > 0);
    }

    #[test]
    fn long_lines_are_fewer() {
        let limit = LogLimit::default();
        let count = allowed(&limit, 1, BYTES / 10, |_| None);
        assert!((10..1000).contains(&count) && count % 10 == 0, "{count}");
    }

    #[test]
    fn what_goes_wrong_again_is_counted() {
        let limit = LogLimit::default();
        let same = allowed(&limit, 1, 10, |_| Some("no key".to_owned()));
        assert!((1..100).contains(&same), "{same}");
        let others = allowed(&limit, 2, 10, |number| Some(number.to_string()));
        assert!(others >= 100);
    }

    /// How many of 1,000 lines are written.
    fn allowed(
        limit: &LogLimit,
        uid: u32,
        len: usize,
        reason: impl Fn(usize) -> Option<String>,
    ) -> usize {
        let allows = |number: &usize| {
            let reason = reason(*number);
            let line = Line {
                operation: "sign",
                outcome: "failed",
                reason: reason.as_deref(),
                len,
            };
            limit.allows(Account::User(uid), line)
        };
        (0..1000).filter(allows).count()
    }
}
