//! How many connections a user may hold, and how many requests it may send.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tedge_p11_config::Account;

/// Counts the connections of each user, and how fast they come. There is one request a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    table: Arc<Mutex<Table>>,
}

/// A connection that is counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    account: Account,
    /// Whether the user has sent more requests than it may.
    pub(crate) too_fast: bool,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<Account, User>,
    connections: usize,
}

#[derive(Debug)]
struct User {
    connections: usize,
    /// Requests it may still send at once, in millionths: a second's worth at most.
    allowance: u64,
    refilled: Instant,
}

impl Limits {
    /// A place for one more connection of `account`, which may send `rate` requests a second; none if it
    /// has as many connections as it may, or if there are as many as there may be.
    pub(crate) fn admit(&self, account: Account, rate: NonZeroU32) -> Option<Place> {
        let now = Instant::now();
        let mut table = self.table();
        if table.connections >= MAX_IN_ALL {
            return None;
        }
        if table.users.len() >= MAX_USERS {
            // A user that has been away for a second is as good as a new one.
            let away = |user: &User| now.duration_since(user.refilled) >= Duration::from_secs(1);
            table
                .users
                .retain(|_, user| user.connections > 0 || !away(user));
        }
        let user = table
            .users
            .entry(account)
            .or_insert_with(|| User::new(now, rate));
        if user.connections >= MAX_A_USER {
            return None;
        }
        user.connections += 1;
        let too_fast = !user.take(now, rate);
        table.connections += 1;
        Some(Place {
            account,
            too_fast,
            limits: self.clone(),
        })
    }

    /// Connections now.
    pub(crate) fn connections(&self) -> usize {
        self.table().connections
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    fn new(now: Instant, rate: NonZeroU32) -> Self {
        Self {
            connections: 0,
            allowance: u64::from(rate.get()) * REQUEST,
            refilled: now,
        }
    }

    /// Whether one more request is within the rate.
    fn take(&mut self, now: Instant, rate: NonZeroU32) -> bool {
        let rate = u64::from(rate.get());
        let microseconds = now.saturating_duration_since(self.refilled).as_micros();
        // A second refills it, so longer makes no difference, and nothing here overflows.
        let microseconds = u64::try_from(microseconds).map_or(REQUEST, |us| us.min(REQUEST));
        self.refilled = now;
        self.allowance = (self.allowance + microseconds * rate).min(rate * REQUEST);
        let left = self.allowance.checked_sub(REQUEST);
        self.allowance = left.unwrap_or(self.allowance);
        left.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.limits.table();
        table.connections -= 1;
        if let Some(user) = table.users.get_mut(&self.account) {
            user.connections -= 1;
        }
    }
}

/// What a request costs of the allowance; microseconds in a second, so that a rate a second is what a
/// microsecond refills.
const REQUEST: u64 = 1_000_000;
/// Connections of one user: far more than its programs need, and few enough to leave others theirs.
const MAX_A_USER: usize = 200;
/// Connections in all; each has two descriptors while it is answered, of 1,024 by default.
const MAX_IN_ALL: usize = 450;
/// Users that are remembered before those that are away are forgotten.
const MAX_USERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

    #[test]
    fn one_user_leaves_room_for_others() {
        let limits = Limits::default();
        let admit = |uid| limits.admit(Account::User(uid), RATE);
        let mut greedy: Vec<_> = (0..MAX_A_USER).map(|_| admit(1).unwrap()).collect();
        assert!(admit(1).is_none());
        let other = admit(2).unwrap();
        greedy.pop();
        assert!(admit(1).is_some());
        drop((greedy, other));
        assert_eq!(limits.connections(), 0);
    }

    #[test]
    fn a_second_brings_a_seconds_worth() {
        let start = Instant::now();
        let mut user = User::new(start, RATE);
        let mut taken = |at: u64| {
            let now = start + Duration::from_millis(at);
            (0..10_000).filter(|_| user.take(now, RATE)).count()
        };
        assert_eq!(taken(0), 1000);
        assert_eq!(taken(100), 100);
        assert_eq!(taken(101), 1);
        assert_eq!(taken(3_600_000), 1000);
    }

    #[test]
    fn users_that_are_away_are_forgotten() {
        let limits = Limits::default();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(2));
        let mut table = limits.table();
        for uid in (0..).take(2 * MAX_USERS) {
            table
                .users
                .insert(Account::User(uid), User::new(long_ago.unwrap(), RATE));
        }
        drop(table);
        drop(limits.admit(Account::User(1), RATE));
        assert_eq!(limits.table().users.len(), 1);
    }
}
