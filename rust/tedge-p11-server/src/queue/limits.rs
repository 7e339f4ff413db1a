//! How many connections a user may hold, how many requests it may send, and how often a thread waits for them.

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
    /// Whether a thread may wait a moment for the request; not for users whose connections keep being silent.
    pub(crate) may_wait: bool,
    limits: Limits,
}

/// For whom places are kept free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Root,
    /// A rule of the policy is for the user or its group.
    Named,
    /// Whoever else may open the socket.
    Other,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<Account, User>,
    connections: usize,
    /// Who connected last, and when that was another one than before.
    last: Option<Account>,
    last_change: Option<Instant>,
}

#[derive(Debug)]
struct User {
    connections: usize,
    /// What refills with time, a second's worth at most.
    requests: Allowance,
    waits: Allowance,
}

/// So many a second, and as many at once.
#[derive(Debug)]
struct Allowance {
    /// In millionths of one.
    left: u64,
    refilled: Instant,
}

impl Limits {
    /// A place for one more connection of `account`, which may send `rate` requests a second; none if it
    /// has as many connections as it may.
    pub(crate) fn admit(
        &self,
        account: Account,
        standing: Standing,
        rate: NonZeroU32,
    ) -> Option<Place> {
        let now = Instant::now();
        let mut table = self.table();
        if table.users.len() >= MAX_USERS {
            table.users.retain(|_, user| !user.is_away(now));
        }
        let of_account = table.users.get(&account).map_or(0, |user| user.connections);
        if of_account >= standing.share(table.connections - of_account) {
            return None;
        }
        table.connections += 1;
        if table.last.replace(account) != Some(account) {
            table.last_change = Some(now);
        }
        let user = table
            .users
            .entry(account)
            .or_insert_with(|| User::new(now, rate));
        user.connections += 1;
        let too_fast = !user.requests.take(now, rate);
        Some(Place {
            account,
            too_fast,
            may_wait: user.waits.has_one(now, WAITS),
            limits: self.clone(),
        })
    }

    /// Connections now.
    pub(crate) fn connections(&self) -> usize {
        self.table().connections
    }

    /// Whether more than one user has connected of late.
    pub(crate) fn has_several_users(&self) -> bool {
        let last = self.table().last_change;
        last.is_some_and(|last| last.elapsed() < SECOND)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A thread has waited for the request, or what there was of it.
    pub(crate) fn kept_waiting(&self) {
        let mut table = self.limits.table();
        if let Some(user) = table.users.get_mut(&self.account) {
            user.waits.take(Instant::now(), WAITS);
        }
    }
}

impl Standing {
    /// Connections that a user may hold while others hold `others`. At most half of what is free, so that there
    /// is always something left for who comes next; each may have one while any is free.
    fn share(self, others: usize) -> usize {
        let places = match self {
            Self::Root => MAX_IN_ALL,
            Self::Named => MAX_IN_ALL - FOR_ROOT,
            Self::Other => MAX_IN_ALL - FOR_ROOT - FOR_NAMED,
        };
        let free = places.saturating_sub(others);
        let share = match self {
            Self::Root => free,
            Self::Named | Self::Other => free.div_ceil(2),
        };
        share.min(MAX_A_USER)
    }
}

impl User {
    fn new(now: Instant, rate: NonZeroU32) -> Self {
        Self {
            connections: 0,
            requests: Allowance::full(now, rate),
            waits: Allowance::full(now, WAITS),
        }
    }

    /// A user that has been away for a second is as good as a new one.
    fn is_away(&self, now: Instant) -> bool {
        let last = self.requests.refilled.max(self.waits.refilled);
        self.connections == 0 && now.saturating_duration_since(last) >= SECOND
    }
}

impl Allowance {
    fn full(now: Instant, rate: NonZeroU32) -> Self {
        Self {
            left: u64::from(rate.get()) * ONE,
            refilled: now,
        }
    }

    /// Takes one, if there is one.
    fn take(&mut self, now: Instant, rate: NonZeroU32) -> bool {
        let has_one = self.has_one(now, rate);
        if has_one {
            self.left -= ONE;
        }
        has_one
    }

    fn has_one(&mut self, now: Instant, rate: NonZeroU32) -> bool {
        let rate = u64::from(rate.get());
        let microseconds = now.saturating_duration_since(self.refilled).as_micros();
        // A second refills it, so longer makes no difference, and nothing here overflows.
        let microseconds = u64::try_from(microseconds).map_or(ONE, |us| us.min(ONE));
        self.refilled = now.max(self.refilled);
        self.left = (self.left + microseconds * rate).min(rate * ONE);
        self.left >= ONE
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

/// One of an [`Allowance`], in the unit that it is kept in. There are as many microseconds in a second, so that a
/// rate a second is what each microsecond brings.
const ONE: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
/// Connections of one user: far more than its programs need.
const MAX_A_USER: usize = 200;
/// Connections in all; each has two descriptors while it is answered, of 1,024 by default.
const MAX_IN_ALL: usize = 450;
/// Of them, those that only root gets.
const FOR_ROOT: usize = 10;
/// Those that only root and users get that a rule is for.
const FOR_NAMED: usize = 40;
/// Times in a second that a thread waits for a user's request: some 50 ms in all.
const WAITS: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Users that are remembered before those that are away are forgotten.
const MAX_USERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

    fn fill(limits: &Limits, account: Account, standing: Standing) -> Vec<Place> {
        std::iter::from_fn(|| limits.admit(account, standing, RATE)).collect()
    }

    #[test]
    fn one_user_leaves_room_for_others() {
        let limits = Limits::default();
        let greedy = Account::User(1);
        let mut held = fill(&limits, greedy, Standing::Other);
        assert_eq!(held.len(), MAX_A_USER);
        let other = limits.admit(Account::User(2), Standing::Other, RATE);
        assert!(other.is_some());
        held.pop();
        assert!(limits.admit(greedy, Standing::Other, RATE).is_some());
        drop((held, other));
        assert_eq!(limits.connections(), 0);
    }

    /// However many users there are that want all there is: the next one gets a place, a user that a rule is
    /// for gets some, and root gets more.
    #[test]
    fn shares_shrink_and_places_are_kept_free() {
        let limits = Limits::default();
        let mut shares = Vec::new();
        let mut held = Vec::new();
        for uid in 1..=20 {
            let places = fill(&limits, Account::User(uid), Standing::Other);
            shares.push(places.len());
            held.extend(places);
        }
        assert_eq!(shares[..6], [200, 100, 50, 25, 13, 6], "{shares:?}");
        assert!(shares[..9].iter().all(|share| *share > 0), "{shares:?}");
        assert_eq!(held.len(), MAX_IN_ALL - FOR_ROOT - FOR_NAMED);
        let named = fill(&limits, Account::User(21), Standing::Named);
        let second = fill(&limits, Account::User(22), Standing::Named);
        assert_eq!((named.len(), second.len()), (20, 10));
        let root = fill(&limits, Account::User(0), Standing::Root);
        assert_eq!(root.len(), MAX_IN_ALL - held.len() - 30);
    }

    #[test]
    fn uids_without_a_user_have_one_share() {
        let limits = Limits::default();
        let held = fill(&limits, Account::Nameless, Standing::Other);
        assert_eq!(held.len(), MAX_A_USER);
        let known = fill(&limits, Account::User(1), Standing::Other);
        assert_eq!(known.len(), 100);
    }

    #[test]
    fn whose_connections_keep_being_silent_is_not_waited_for() {
        let limits = Limits::default();
        let (silent, other) = (Account::User(1), Account::User(2));
        let admit = |account| limits.admit(account, Standing::Other, RATE).unwrap();
        let waited_for = |account| {
            let waits = (0..100)
                .map(|_| admit(account))
                .filter(|place| place.may_wait);
            waits.inspect(Place::kept_waiting).count()
        };
        // The test may itself take a second.
        assert!((10..100).contains(&waited_for(silent)));
        assert!(admit(other).may_wait);
        let mut table = limits.table();
        let user = table.users.get_mut(&silent).unwrap();
        let later = Instant::now() + SECOND;
        assert!(user.waits.has_one(later, WAITS));
    }

    #[test]
    fn a_second_brings_a_seconds_worth() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start, RATE);
        let mut taken = |at: u64| {
            let now = start + Duration::from_millis(at);
            (0..10_000).filter(|_| allowance.take(now, RATE)).count()
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
            let user = User::new(long_ago.unwrap(), RATE);
            table.users.insert(Account::User(uid), user);
        }
        drop(table);
        drop(limits.admit(Account::User(1), Standing::Other, RATE));
        assert_eq!(limits.table().users.len(), 1);
    }

    #[test]
    fn several_users_are_noticed() {
        let limits = Limits::default();
        let admit = |uid| drop(limits.admit(Account::User(uid), Standing::Other, RATE));
        admit(1);
        limits.table().last_change = None;
        admit(1);
        assert!(!limits.has_several_users());
        admit(2);
        assert!(limits.has_several_users());
    }
}
