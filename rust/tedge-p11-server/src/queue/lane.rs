//! The calls on one token: which of those that wait is next.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tedge_p11_config::{Account, Operation};

/// The calls on one token.
#[derive(Debug)]
pub(super) struct Lane<T> {
    /// Of [`LANE_WIDTH`], what calls that run take up.
    width: u32,
    /// Calls that run and do not sign.
    managing: usize,
    /// Whether one of them makes a key: the others can do nothing meanwhile.
    makes_key: bool,
    /// The call that makes a key and is next: others that do not sign let it go first.
    makes_key_next: Option<u64>,
    /// Microseconds that the quicker ones of the last calls took.
    usual: u64,
    /// The accounts that have calls here, running or waiting.
    accounts: HashMap<Account, Queue<T>>,
    /// Those that have calls waiting: whoever had a turn goes to the back.
    order: VecDeque<Account>,
}

/// The calls of one account in a lane.
#[derive(Debug)]
struct Queue<T> {
    running: usize,
    signing: VecDeque<Waiter<T>>,
    managing: VecDeque<Waiter<T>>,
}

#[derive(Debug)]
pub(super) struct Waiter<T> {
    /// Counts up, so that it tells who came first.
    pub(super) ticket: u64,
    pub(super) kind: Kind,
    /// Where its turn goes.
    pub(super) turn: T,
}

/// What a call needs of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sign,
    /// Can do nothing while a key is made, for minutes perhaps, and waits for that without a place in the lane:
    /// signatures need it.
    Manage,
    /// The same, and lets nothing else of its kind run.
    MakeKey,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            width: 0,
            managing: 0,
            makes_key: false,
            makes_key_next: None,
            usual: 0,
            accounts: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            running: 0,
            signing: VecDeque::new(),
            managing: VecDeque::new(),
        }
    }
}

impl<T> Lane<T> {
    /// Notes that a call of this kind runs from now on. Tells what it takes up of the lane.
    pub(super) fn start(&mut self, account: Account, kind: Kind) -> u32 {
        let width = self.share();
        self.width += width;
        self.managing += usize::from(kind != Kind::Sign);
        self.makes_key |= kind == Kind::MakeKey;
        self.accounts.entry(account).or_default().running += 1;
        width
    }

    /// Notes that such a call has ended after it `took` so long.
    pub(super) fn end(&mut self, account: Account, kind: Kind, width: u32, took: Duration) {
        self.width -= width;
        self.managing -= usize::from(kind != Kind::Sign);
        self.makes_key &= kind != Kind::MakeKey;
        self.note_duration(took);
        if let Some(queue) = self.accounts.get_mut(&account) {
            queue.running -= 1;
        }
        self.forget_if_idle(account);
    }

    /// Whether no call runs or waits here.
    pub(super) fn is_idle(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Takes out who is to run next, of the accounts that may run more.
    pub(super) fn next(
        &mut self,
        may_run_more: impl Fn(Account) -> bool,
    ) -> Option<(Account, Waiter<T>)> {
        self.makes_key_next = self.blocked_maker(&may_run_more);
        let candidates = self
            .order
            .iter()
            .enumerate()
            .filter_map(|(place, account)| {
                let queue = self.accounts.get(account)?;
                let may_start = may_run_more(*account) && self.next_of(queue).is_some();
                may_start.then_some((queue.running, place, *account))
            });
        let (_, place, account) =
            candidates.min_by_key(|(running, place, _)| (*running, *place))?;
        let is_managing = self.next_of(self.accounts.get(&account)?)?.kind != Kind::Sign;
        let queue = self.accounts.get_mut(&account)?;
        let waiter = if is_managing {
            queue.managing.pop_front()?
        } else {
            queue.signing.pop_front()?
        };
        self.order.remove(place);
        if queue.waiting() > 0 {
            self.order.push_back(account);
        }
        Some((account, waiter))
    }

    /// Of the calls that make a key and wait for others to end, the one that is next.
    fn blocked_maker(&self, may_run_more: impl Fn(Account) -> bool) -> Option<u64> {
        if self.makes_key || self.managing == 0 {
            return None;
        }
        let accounts = self.order.iter().filter(|account| may_run_more(**account));
        let mut first = accounts.filter_map(|account| self.accounts.get(account)?.managing.front());
        let next = first.find(|waiter| waiter.kind == Kind::MakeKey)?;
        Some(next.ticket)
    }

    /// The call of an account that can start now, and has waited longest.
    fn next_of<'a>(&self, queue: &'a Queue<T>) -> Option<&'a Waiter<T>> {
        let heads = [queue.signing.front(), queue.managing.front()];
        let can_start = |waiter: &&Waiter<T>| self.has_room_for(waiter.kind, Some(waiter.ticket));
        let heads = heads.into_iter().flatten().filter(can_start);
        heads.min_by_key(|waiter| waiter.ticket)
    }

    /// Whether a call, by its ticket if it has waited, could run beside those that do.
    pub(super) fn has_room_for(&self, kind: Kind, ticket: Option<u64>) -> bool {
        let is_next = self.makes_key_next.is_none_or(|next| Some(next) == ticket);
        let may_manage = !self.makes_key && is_next;
        let kind_may = match kind {
            Kind::Sign => true,
            Kind::Manage => may_manage,
            Kind::MakeKey => may_manage && self.managing == 0,
        };
        kind_may && self.width + self.share() <= LANE_WIDTH
    }

    /// The part of the lane that a call takes up.
    fn share(&self) -> u32 {
        if self.usual < SLOW { 1 } else { SLOW_SHARE }
    }

    /// How many calls of the account wait here.
    pub(super) fn waiting(&self, account: Account) -> usize {
        self.accounts.get(&account).map_or(0, Queue::waiting)
    }

    pub(super) fn enqueue(&mut self, account: Account, waiter: Waiter<T>) {
        let queue = self.accounts.entry(account).or_default();
        if queue.waiting() == 0 {
            self.order.push_back(account);
        }
        if waiter.kind == Kind::Sign {
            queue.signing.push_back(waiter);
        } else {
            queue.managing.push_back(waiter);
        }
    }

    /// Takes out a call that waits no more. It may have had its turn.
    pub(super) fn remove(&mut self, account: Account, ticket: u64) {
        if let Some(queue) = self.accounts.get_mut(&account) {
            queue.signing.retain(|waiter| waiter.ticket != ticket);
            queue.managing.retain(|waiter| waiter.ticket != ticket);
            if queue.waiting() == 0 {
                self.order.retain(|waiting| *waiting != account);
            }
        }
        if self.makes_key_next == Some(ticket) {
            self.makes_key_next = None;
        }
        self.forget_if_idle(account);
    }

    fn forget_if_idle(&mut self, account: Account) {
        let is_idle = |queue: &Queue<T>| queue.running == 0 && queue.waiting() == 0;
        if self.accounts.get(&account).is_some_and(is_idle) {
            self.accounts.remove(&account);
        }
    }

    fn note_duration(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // One that failed after a minute says little about the next.
        let took = took.min(10 * SLOW);
        // Falls faster than it rises: a call in software is long only when others have its processor.
        self.usual = if took < self.usual {
            self.usual - (self.usual - took).div_ceil(8)
        } else {
            self.usual + (took - self.usual).div_ceil(64)
        };
    }
}

impl<T> Queue<T> {
    fn waiting(&self) -> usize {
        self.signing.len() + self.managing.len()
    }
}

impl Kind {
    pub(super) fn of(operation: Operation) -> Self {
        match operation {
            Operation::Sign => Self::Sign,
            Operation::CreateKey => Self::MakeKey,
            _ => Self::Manage,
        }
    }
}

/// Calls on one token at once. SoftHSM2 on two cores was fastest with 8 (2: 40 %, 4: 60 %, 8: 72 % of the
/// floor with 16 clients).
pub(crate) const LANE_WIDTH: u32 = 8;
/// Microseconds: what takes as long is hardware, or acts as if it were. It works on one call at a time, and
/// the next one waiting inside the module keeps it busy. More would only wait for the module's own lock,
/// which is not fair: with 64 clients on swtpm, the slowest waited half as long again as the average.
pub(super) const SLOW: u64 = 4000;
/// Two at once.
const SLOW_SHARE: u32 = 4;

#[cfg(test)]
impl<T> Lane<T> {
    /// As if calls here usually took so many microseconds.
    pub(super) fn set_usual(&mut self, usual: u64) {
        self.usual = usual;
    }

    /// The same, as it is.
    pub(super) fn usual(&self) -> u64 {
        self.usual
    }

    /// Whether nothing of a call is left.
    pub(super) fn is_as_new(&self) -> bool {
        self.width == 0 && self.managing == 0 && self.is_idle() && self.order.is_empty()
    }
}
