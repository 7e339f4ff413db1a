//! How many lines of the log one user can cause. journald drops lines of a service that writes too many,
//! and keeps a journal of limited size: without a limit here, who floods the signer could keep lines of
//! others out of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tedge_p11_config::Account;

/// Lets through so many lines a user and second, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    users: Mutex<HashMap<Account, Second>>,
}

#[derive(Debug)]
struct Second {
    start: Instant,
    written: u32,
    /// By what was done and how it ended.
    left_out: BTreeMap<(&'static str, &'static str), u64>,
}

impl LogLimit {
    /// Whether a line on what `account` did is to be written. One that is not is counted.
    pub(crate) fn allows(
        &self,
        account: Account,
        operation: &'static str,
        outcome: &'static str,
    ) -> bool {
        let (allowed, over) = self.count(account, operation, outcome);
        if let Some(over) = over {
            over.report(account);
        }
        allowed
    }

    /// Whether it is to be written, and the second before if it is over: logging may take its time, and
    /// must not keep others waiting for the lock.
    fn count(
        &self,
        account: Account,
        operation: &'static str,
        outcome: &'static str,
    ) -> (bool, Option<Second>) {
        let now = Instant::now();
        let mut users = self.users();
        let second = users.entry(account).or_insert_with(|| Second::new(now));
        let is_over = now.duration_since(second.start) >= SECOND;
        let over = is_over.then(|| std::mem::replace(second, Second::new(now)));
        let allowed = second.written < LINES;
        if allowed {
            second.written += 1;
        } else {
            *second.left_out.entry((operation, outcome)).or_default() += 1;
        }
        (allowed, over)
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
            written: 0,
            left_out: BTreeMap::new(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_others_their_lines() {
        let limit = LogLimit::default();
        let allowed = |uid| {
            let account = Account::User(uid);
            (0..1000)
                .filter(|_| limit.allows(account, "sign", "done"))
                .count()
        };
        // The test may itself take longer than a second.
        assert!((100..1000).contains(&allowed(1)));
        assert!(allowed(2) >= 100);
        let users = limit.users();
        assert!(users[&Account::User(1)].left_out[&("sign", "done")] > 0);
    }
}
