//! Who waits for a token, and whose turn it is.
//!
//! Calls on one token go through its lane, a few at a time. In a lane each account has a queue of its own. A place
//! that falls free goes to the account with the fewest calls running there, and among those to the one that has
//! waited longest since its last turn. So whoever keeps 200 connections busy makes others wait for the calls that
//! run already, and not for the 200.
//!
//! All of it is under one lock, which nobody holds while a call runs or while somebody is woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tedge_p11_config::{Account, Operation};
use tokio::sync::oneshot;

use super::lane::{Kind, LANE_WIDTH, Lane, Waiter};

/// The lanes of all tokens.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    state: Mutex<State>,
}

/// Who calls, what for, and on which token.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) lane: Arc<str>,
    pub(crate) account: Account,
    pub(crate) operation: Operation,
    /// Calls of the account that may wait in this lane.
    pub(crate) most: usize,
    /// Bytes that the call takes while it waits.
    pub(crate) bytes: usize,
}

/// What becomes of a call that would like to run at once.
#[derive(Debug)]
pub(crate) enum Taken {
    Turn(Turn),
    /// It has to wait.
    Wait,
    /// It can't even wait.
    Full(Full),
}

/// A place in a lane, held while a call runs.
#[derive(Debug)]
pub(crate) struct Turn {
    lanes: Arc<Lanes>,
    lane: Arc<str>,
    account: Account,
    kind: Kind,
    width: u32,
    since: Instant,
}

/// A call that waits for its turn. It waits no more when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    lanes: Arc<Lanes>,
    lane: Arc<str>,
    account: Account,
    bytes: usize,
    ticket: u64,
    turn: oneshot::Receiver<Turn>,
}

/// Why a call can't even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Its account has as many calls waiting in this lane as it may have.
    Requests,
    /// What waits of its account, in all lanes, takes [`WAITING_BYTES`] already.
    Bytes,
}

/// A turn goes to the task that waits for it.
type LanesByName = HashMap<Arc<str>, Lane<oneshot::Sender<Turn>>>;

#[derive(Debug, Default)]
struct State {
    lanes: LanesByName,
    /// Calls that run, in all lanes, of the accounts that have some.
    running: HashMap<Account, usize>,
    /// What the calls that wait take, in all lanes, of the accounts that have some.
    waiting_bytes: HashMap<Account, usize>,
    last_ticket: u64,
}

/// A turn for somebody who waits; given to him when the lock is free.
type Grant = (oneshot::Sender<Turn>, Turn);

impl Lanes {
    /// A turn for a call, if it need not wait.
    pub(crate) fn take(self: &Arc<Self>, queued: &Queued) -> Taken {
        let kind = Kind::of(queued.operation);
        let mut state = self.state();
        let State { lanes, running, .. } = &mut *state;
        let of_lane = kept(lanes, &queued.lane);
        // Whoever waits could not start when the last call ended; so nobody is overtaken who could start now.
        if may_run_more(running, queued.account) && of_lane.has_room_for(kind, None) {
            return Taken::Turn(self.start(&mut state, &queued.lane, queued.account, kind));
        }
        match state.may_wait(queued) {
            Ok(()) => Taken::Wait,
            Err(full) => Taken::Full(full),
        }
    }

    /// Puts a call into the queue of its account, if it may wait there.
    pub(crate) fn wait(self: &Arc<Self>, queued: &Queued) -> Result<Waiting, Full> {
        let (sender, turn) = oneshot::channel();
        let Queued {
            lane,
            account,
            operation,
            bytes,
            ..
        } = queued;
        let mut state = self.state();
        state.may_wait(queued)?;
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        *state.waiting_bytes.entry(*account).or_default() += bytes;
        kept(&mut state.lanes, lane).enqueue(
            *account,
            Waiter {
                ticket,
                kind: Kind::of(*operation),
                turn: sender,
            },
        );
        let grants = self.grants(&mut state, lane);
        drop(state);
        give(grants);
        Ok(Waiting {
            lanes: self.clone(),
            lane: lane.clone(),
            account: *account,
            bytes: *bytes,
            ticket,
            turn,
        })
    }

    /// Notes that a call runs from now on.
    fn start(
        self: &Arc<Self>,
        state: &mut State,
        lane: &Arc<str>,
        account: Account,
        kind: Kind,
    ) -> Turn {
        let width = kept(&mut state.lanes, lane).start(account, kind);
        *state.running.entry(account).or_default() += 1;
        Turn {
            lanes: self.clone(),
            lane: lane.clone(),
            account,
            kind,
            width,
            since: Instant::now(),
        }
    }

    /// Notes that a call has ended, and lets those run who waited for that.
    fn end(self: &Arc<Self>, turn: &Turn) {
        let mut state = self.state();
        let of_lane = kept(&mut state.lanes, &turn.lane);
        of_lane.end(turn.account, turn.kind, turn.width, turn.since.elapsed());
        let had_all = !may_run_more(&state.running, turn.account);
        if let Some(running) = state.running.get_mut(&turn.account) {
            *running -= 1;
            if *running == 0 {
                state.running.remove(&turn.account);
            }
        }
        let mut grants = self.grants(&mut state, &turn.lane);
        if had_all {
            // Its calls in other lanes waited for this one.
            let lanes: Vec<_> = state.lanes.keys().cloned().collect();
            for lane in lanes {
                grants.extend(self.grants(&mut state, &lane));
            }
        }
        drop(state);
        give(grants);
    }

    /// The turns of those in `lane` who need not wait any more.
    fn grants(self: &Arc<Self>, state: &mut State, lane: &Arc<str>) -> Vec<Grant> {
        let mut grants = Vec::new();
        loop {
            let State { lanes, running, .. } = &mut *state;
            let of_lane = kept(lanes, lane);
            let Some((account, waiter)) = of_lane.next(|account| may_run_more(running, account))
            else {
                return grants;
            };
            let turn = self.start(state, lane, account, waiter.kind);
            grants.push((waiter.turn, turn));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether one more call of the account may wait: one may in any case.
    fn may_wait(&mut self, queued: &Queued) -> Result<(), Full> {
        let lane = kept(&mut self.lanes, &queued.lane);
        if lane.waiting(queued.account) >= queued.most {
            return Err(Full::Requests);
        }
        match self.waiting_bytes.get(&queued.account) {
            Some(bytes) if bytes + queued.bytes > WAITING_BYTES => Err(Full::Bytes),
            _ => Ok(()),
        }
    }
}

impl Waiting {
    /// Waits for the turn. There always is one sooner or later: None can't be.
    pub(crate) async fn turn(mut self) -> Option<Turn> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.lanes.state();
        kept(&mut state.lanes, &self.lane).remove(self.account, self.ticket);
        if let Some(bytes) = state.waiting_bytes.get_mut(&self.account) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                state.waiting_bytes.remove(&self.account);
            }
        }
        // Others may have waited for this call to go first.
        let grants = self.lanes.grants(&mut state, &self.lane);
        drop(state);
        give(grants);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.lanes.clone().end(self);
    }
}

/// Gives turns to those who have waited for them. Who is gone gives his back at once, to others.
fn give(grants: Vec<Grant>) {
    for (waiter, turn) in grants {
        drop(waiter.send(turn));
    }
}

fn may_run_more(running: &HashMap<Account, usize>, account: Account) -> bool {
    running
        .get(&account)
        .is_none_or(|running| *running < CALLS_OF_ONE)
}

/// The lane of that name. Clients choose the names: what they can fill is bounded. What is in use stays.
fn kept<'a>(lanes: &'a mut LanesByName, name: &Arc<str>) -> &'a mut Lane<oneshot::Sender<Turn>> {
    if lanes.len() >= MAX_LANES && !lanes.contains_key(name) {
        lanes.retain(|_, lane| !lane.is_idle());
    }
    lanes.entry(name.clone()).or_default()
}

const MAX_LANES: usize = 256;
/// What an account may have waiting, in all lanes: 64 requests with the longest messages that have a purpose take half
/// of it.
pub(crate) const WAITING_BYTES: usize = 1024 * 1024;
/// Calls of one account at once, in all lanes: three tokens that hang, and less than half of the threads.
const CALLS_OF_ONE: usize = 3 * LANE_WIDTH as usize;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::lane::SLOW;
    use super::*;

    const SIGN: Operation = Operation::Sign;
    const A: Account = Account::User(1);
    const B: Account = Account::User(2);
    const C: Account = Account::User(3);
    const MOST: usize = 64;

    fn lane() -> Arc<str> {
        "token".into()
    }

    fn queued(account: Account, operation: Operation) -> Queued {
        Queued {
            lane: lane(),
            account,
            operation,
            most: MOST,
            bytes: 1,
        }
    }

    fn taken(lanes: &Arc<Lanes>, account: Account, operation: Operation) -> Option<Turn> {
        match lanes.take(&queued(account, operation)) {
            Taken::Turn(turn) => Some(turn),
            Taken::Wait | Taken::Full(_) => None,
        }
    }

    fn waiting(lanes: &Arc<Lanes>, account: Account, operation: Operation) -> Waiting {
        lanes.wait(&queued(account, operation)).unwrap()
    }

    fn has_turn(waiting: &mut Waiting) -> Option<Turn> {
        waiting.turn.try_recv().ok()
    }

    /// As a token in hardware does it: two calls at once.
    fn slow() -> Arc<Lanes> {
        let lanes = Arc::new(Lanes::default());
        kept(&mut lanes.state().lanes, &lane()).set_usual(100 * SLOW);
        lanes
    }

    #[test]
    fn slow_calls_go_two_at_once() {
        let lanes = Arc::new(Lanes::default());
        let free = |usual| {
            kept(&mut lanes.state().lanes, &lane()).set_usual(usual);
            let turns: Vec<_> = std::iter::from_fn(|| taken(&lanes, A, SIGN)).collect();
            turns.len()
        };
        assert_eq!(free(0), LANE_WIDTH as usize);
        assert_eq!(free(SLOW), 2);
        kept(&mut lanes.state().lanes, &lane()).set_usual(SLOW);
        for _ in 0..100 {
            drop(taken(&lanes, A, SIGN));
        }
        assert!(kept(&mut lanes.state().lanes, &lane()).usual() < SLOW);
    }

    /// Whatever one account has in the queue, another's call waits for what runs and for one of each account.
    #[test]
    fn a_call_waits_for_one_of_each_account() {
        let lanes = slow();
        let mut running: VecDeque<_> = std::iter::from_fn(|| taken(&lanes, A, SIGN)).collect();
        assert_eq!(running.len(), 2);
        let mut queue: Vec<_> = [A, B]
            .into_iter()
            .flat_map(|account| (0..MOST).map(move |_| account))
            .map(|account| (account, waiting(&lanes, account, SIGN)))
            .collect();
        queue.push((C, waiting(&lanes, C, SIGN)));
        let mut served = Vec::new();
        while let Some(turn) = running.pop_front() {
            drop(turn);
            // One ends, one begins.
            for (account, waiting) in &mut queue {
                if let Some(turn) = has_turn(waiting) {
                    served.push(*account);
                    running.push_back(turn);
                }
            }
        }
        assert_eq!(served.len(), 2 * MOST + 1);
        let place = served.iter().position(|account| *account == C).unwrap();
        assert!(place <= 2, "{served:?}");
        // And the two others take turns.
        let of_a = served[..20].iter().filter(|account| **account == A).count();
        assert!((9..=11).contains(&of_a), "{served:?}");
    }

    #[test]
    fn an_account_has_a_bounded_queue() {
        let lanes = slow();
        let _running: Vec<_> = std::iter::from_fn(|| taken(&lanes, A, SIGN)).collect();
        let mut queue: Vec<_> = (0..MOST).map(|_| waiting(&lanes, A, SIGN)).collect();
        let take = |account| lanes.take(&queued(account, SIGN));
        assert!(matches!(take(A), Taken::Full(Full::Requests)));
        assert_eq!(lanes.wait(&queued(A, SIGN)).err(), Some(Full::Requests));
        assert!(matches!(take(B), Taken::Wait));
        queue.pop();
        assert!(matches!(take(A), Taken::Wait));
    }

    /// However short its queues are in all lanes, an account has no more bytes in them.
    #[test]
    fn what_waits_of_an_account_is_bounded_in_bytes() {
        let lanes = slow();
        let _running: Vec<_> = std::iter::from_fn(|| taken(&lanes, A, SIGN)).collect();
        let wait = |lane: &str, account, bytes| {
            lanes.wait(&Queued {
                lane: lane.into(),
                bytes,
                ..queued(account, SIGN)
            })
        };
        let third = WAITING_BYTES / 3;
        // Those of the other lane run at once, and so keep nothing once they have their turn.
        let mut queue = vec![
            wait("token", A, third).unwrap(),
            wait("other", A, third).unwrap(),
            wait("token", A, third).unwrap(),
        ];
        assert_eq!(wait("token", A, third).err(), Some(Full::Bytes));
        let longer = Queued {
            bytes: third,
            ..queued(A, SIGN)
        };
        assert!(matches!(lanes.take(&longer), Taken::Full(Full::Bytes)));
        // Another account has its own, and one call of any length may wait.
        drop(wait("token", B, 2 * WAITING_BYTES).unwrap());
        queue.pop();
        queue.push(wait("token", A, third).unwrap());
        drop(queue);
        assert!(lanes.state().waiting_bytes.is_empty());
    }

    #[test]
    fn who_waits_for_a_key_to_be_made_takes_no_place() {
        let lanes = Arc::new(Lanes::default());
        let makes = taken(&lanes, A, Operation::CreateKey).unwrap();
        let mut describes = waiting(&lanes, B, Operation::Describe);
        assert!(taken(&lanes, B, Operation::List).is_none());
        let signing: Vec<_> = std::iter::from_fn(|| taken(&lanes, B, SIGN)).collect();
        assert_eq!(signing.len(), LANE_WIDTH as usize - 1);
        assert!(has_turn(&mut describes).is_none());
        drop((makes, signing));
        assert!(has_turn(&mut describes).is_some());
    }

    /// Reading calls that come without end do not keep a key from being made.
    #[test]
    fn a_key_is_made_when_those_that_run_have_ended() {
        let lanes = Arc::new(Lanes::default());
        let describes = taken(&lanes, A, Operation::Describe).unwrap();
        let mut makes = waiting(&lanes, B, Operation::CreateKey);
        let mut lists = waiting(&lanes, A, Operation::List);
        assert!(taken(&lanes, C, Operation::List).is_none());
        assert!(taken(&lanes, C, SIGN).is_some());
        drop(describes);
        let turn = has_turn(&mut makes).unwrap();
        assert!(has_turn(&mut lists).is_none());
        drop(turn);
        let listing = has_turn(&mut lists).unwrap();
        // Who gives up lets the others go on.
        let makes = waiting(&lanes, B, Operation::CreateKey);
        let mut lists = waiting(&lanes, C, Operation::List);
        assert!(has_turn(&mut lists).is_none());
        drop(makes);
        assert!(has_turn(&mut lists).is_some());
        drop(listing);
    }

    #[test]
    fn what_ended_is_forgotten() {
        let lanes = slow();
        let running = taken(&lanes, A, SIGN);
        let more = taken(&lanes, A, SIGN);
        let gone = waiting(&lanes, B, SIGN);
        let granted = waiting(&lanes, C, SIGN);
        drop((gone, running));
        // Its turn was there, and nobody takes it.
        drop((granted, more));
        let state = lanes.state();
        assert!(state.running.is_empty(), "{state:?}");
        assert!(state.waiting_bytes.is_empty(), "{state:?}");
        let lane = &state.lanes[&lane()];
        assert!(lane.is_as_new(), "{lane:?}");
    }

    #[test]
    fn clients_can_not_fill_memory_with_lanes() {
        let lanes = Arc::new(Lanes::default());
        let take = |lane: &str| {
            lanes.take(&Queued {
                lane: lane.into(),
                ..queued(A, SIGN)
            })
        };
        let busy = take("busy");
        for number in 0..3 * MAX_LANES {
            drop(take(&number.to_string()));
        }
        let state = lanes.state();
        assert!(state.lanes.len() <= MAX_LANES + 1 && state.lanes.contains_key("busy"));
        drop(state);
        drop(busy);
    }
}
