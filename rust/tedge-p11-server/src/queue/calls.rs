//! The threads that call the module, and the lanes in front of them.
//!
//! A call blocks, and some never return, so each has a thread. Before it gets one it waits in the lane
//! of its token: first come, first served, a few at a time. So clients of one token are served fairly
//! (a mutex in a module is not fair), and a token that hangs takes a few threads, not all. A user that
//! names many tokens has many lanes, so its calls are limited as well.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tedge_p11_config::{Account, Operation, Peer};
use tedge_p11_protocol::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep_until, timeout_at};

/// Starts calls on the module.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    /// With a permit for each call that it may have running.
    users: Mutex<HashMap<Account, Arc<Semaphore>>>,
    running: Arc<Mutex<Running>>,
}

/// A call did not return in time, or did not get its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

/// The calls on one token.
#[derive(Debug)]
struct Lane {
    /// Has [`LANE_WIDTH`] permits.
    width: Arc<Semaphore>,
    /// As many, for calls that do not sign. They can do nothing while a key is made, for minutes perhaps, and
    /// wait for that without a place in the lane: those who sign need it.
    others: Arc<Semaphore>,
    /// Microseconds that the quicker ones of the last calls took.
    usual: AtomicU64,
}

/// A place in a lane, held while a call runs.
#[derive(Debug)]
pub(crate) struct Turn {
    lane: Arc<Lane>,
    since: Instant,
    _permits: [OwnedSemaphorePermit; 3],
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    calls: HashMap<u64, Call>,
}

#[derive(Debug)]
struct Call {
    since: Instant,
    /// To be told when the call is late, by whoever makes it or by [`Calls::tell_late`].
    client: Option<Waiting>,
}

/// The client of a call that is made right where it was accepted.
#[derive(Debug)]
struct Waiting {
    stream: Arc<UnixStream>,
    peer: Peer,
    operation: Operation,
    limit: Duration,
}

impl Calls {
    /// Runs `call` for `account` on a thread of its own when it is its turn in `lane`. A call that does
    /// not return within `limit` keeps its thread and its place in the lane, but not its client.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: &str,
        account: Account,
        operation: Operation,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let deadline = tokio::time::Instant::now() + limit;
        let turn = self.lane(lane).turn(self.user(account), operation);
        let Ok(Some(turn)) = timeout_at(deadline, turn).await else {
            return Err(Late);
        };
        let running = self.running.clone();
        let mut call = tokio::task::spawn_blocking(move || {
            let _mark = Mark::new(running, None);
            let result = call();
            drop(turn);
            result
        });
        tokio::select! {
            // A panic ends the process before it gets here.
            result = &mut call => result.map_err(|_| Late),
            () = sleep_until(deadline) => {
                // If no thread has taken it up yet, none must do so for a client that is gone.
                call.abort();
                Err(Late)
            }
        }
    }

    /// A turn in `lane` for a call of `account` that is made right here, if nobody waits there.
    pub(crate) fn turn(&self, lane: &str, account: Account, operation: Operation) -> Option<Turn> {
        self.lane(lane).turn_at_once(&self.user(account), operation)
    }

    /// Notes a call that is made right here for the client on `stream`, who is told when it takes longer than
    /// `limit`.
    pub(crate) fn begin(
        &self,
        stream: &Arc<UnixStream>,
        peer: &Peer,
        operation: Operation,
        limit: Duration,
    ) -> Mark {
        let client = Waiting {
            stream: stream.clone(),
            peer: peer.clone(),
            operation,
            limit,
        };
        Mark::new(self.running.clone(), Some(client))
    }

    /// Tells the clients of calls made right here that are late. `answer` is asked what, with the call's
    /// beginning.
    pub(crate) fn tell_late(&self, answer: impl Fn(&Peer, Operation, Instant) -> Response) {
        for (client, since) in self.take_late() {
            let answer = answer(&client.peer, client.operation, since);
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = send(&*client.stream, &answer.encode(), flags);
            // It stays open as long as the call runs.
            let _ = shutdown(&*client.stream, Shutdown::Both);
        }
    }

    /// The clients to be told; telling them takes no lock.
    fn take_late(&self) -> Vec<(Waiting, Instant)> {
        let mut running = lock(&self.running);
        let calls = running.calls.values_mut();
        calls
            .filter_map(|call| {
                let since = call.since;
                let client = call.client.take_if(|client| since.elapsed() > client.limit);
                Some((client?, since))
            })
            .collect()
    }

    /// How many calls are running.
    pub(crate) fn count(&self) -> usize {
        lock(&self.running).calls.len()
    }

    /// How long the call has been running that runs longest.
    pub(crate) fn longest(&self) -> Duration {
        let running = lock(&self.running);
        let oldest = running.calls.values().map(|call| call.since).min();
        oldest.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn lane(&self, name: &str) -> Arc<Lane> {
        kept(&self.lanes, name, Lane::new)
    }

    fn user(&self, account: Account) -> Arc<Semaphore> {
        kept(&self.users, &account, || Semaphore::new(MAX_A_USER))
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            width: Arc::new(Semaphore::new(LANE_WIDTH)),
            others: Arc::new(Semaphore::new(LANE_WIDTH)),
            usual: AtomicU64::new(0),
        }
    }

    /// Waits for a turn of `user`. None can't be: lanes and users are never closed.
    async fn turn(self: Arc<Self>, user: Arc<Semaphore>, operation: Operation) -> Option<Turn> {
        loop {
            let other = self.others.clone().acquire_many_owned(others(operation));
            let other = other.await.ok()?;
            let permits = self.width.clone().acquire_many_owned(self.share()).await;
            let place = permits.ok()?;
            if let Ok(call) = user.clone().try_acquire_owned() {
                return Some(Turn::new(self, [other, place, call]));
            }
            // Who holds nothing while he waits keeps nobody else waiting.
            drop((other, place));
            drop(user.acquire().await.ok()?);
        }
    }

    fn turn_at_once(self: Arc<Self>, user: &Arc<Semaphore>, operation: Operation) -> Option<Turn> {
        let other = self.others.clone();
        let other = other.try_acquire_many_owned(others(operation)).ok()?;
        let place = self.width.clone().try_acquire_many_owned(self.share());
        let call = user.clone().try_acquire_owned();
        Some(Turn::new(self, [other, place.ok()?, call.ok()?]))
    }

    /// The part of the lane that a call takes up.
    fn share(&self) -> u32 {
        if self.usual.load(Relaxed) < SLOW {
            1
        } else {
            SLOW_SHARE
        }
    }
}

impl Turn {
    fn new(lane: Arc<Lane>, permits: [OwnedSemaphorePermit; 3]) -> Self {
        Self {
            lane,
            since: Instant::now(),
            _permits: permits,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let took = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(SLOW);
        let usual = self.lane.usual.load(Relaxed);
        // One that failed after a minute says little about the next.
        let took = took.min(10 * SLOW);
        // Falls faster than it rises: a call in software is long only when others have its processor.
        let new = if took < usual {
            usual - (usual - took).div_ceil(8)
        } else {
            usual + (took - usual).div_ceil(64)
        };
        self.lane.usual.store(new, Relaxed);
    }
}

/// Stands for a running call.
#[derive(Debug)]
pub(crate) struct Mark {
    running: Arc<Mutex<Running>>,
    /// None once it has ended.
    number: Option<u64>,
}

impl Mark {
    fn new(running: Arc<Mutex<Running>>, client: Option<Waiting>) -> Self {
        let mut list = lock(&running);
        let number = list.next;
        list.next += 1;
        let since = Instant::now();
        list.calls.insert(number, Call { since, client });
        drop(list);
        Self {
            running,
            number: Some(number),
        }
    }

    /// The call has returned. Tells whether its client still waits for the answer; if so, nobody else has
    /// its stream any more.
    pub(crate) fn end(mut self) -> bool {
        self.remove().is_some_and(|call| call.client.is_some())
    }

    fn remove(&mut self) -> Option<Call> {
        let number = self.number.take()?;
        lock(&self.running).calls.remove(&number)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.remove();
    }
}

/// How many permits of [`Lane::others`] a call takes.
fn others(operation: Operation) -> u32 {
    match operation {
        Operation::Sign => 0,
        Operation::CreateKey => ALL,
        _ => 1,
    }
}

/// What is kept under `key`. Clients choose the keys: what they can fill is bounded. What is in use stays.
fn kept<K, Q, V>(map: &Mutex<HashMap<K, Arc<V>>>, key: &Q, new: impl FnOnce() -> V) -> Arc<V>
where
    K: Borrow<Q> + Eq + Hash,
    Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
{
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = map.get(key) {
        return value.clone();
    }
    if map.len() >= MAX_KEPT {
        map.retain(|_, value| Arc::strong_count(value) > 1);
    }
    let value = Arc::new(new());
    map.insert(key.to_owned(), value.clone());
    value
}

fn lock(running: &Mutex<Running>) -> std::sync::MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls on one token at once. SoftHSM2 on two cores was fastest with 8 (2: 40 %, 4: 60 %, 8: 72 % of the
/// floor with 16 clients).
pub(crate) const LANE_WIDTH: usize = ALL as usize;
/// The same, as semaphores count.
const ALL: u32 = 8;
/// Microseconds: what takes as long is hardware, or acts as if it were. It works on one call at a time, and
/// the next one waiting inside the module keeps it busy. More would only wait for the module's own lock,
/// which is not fair: with 64 clients on swtpm, the slowest waited half as long again as the average.
const SLOW: u64 = 4000;
/// Two at once.
const SLOW_SHARE: u32 = 4;
/// Lanes, and users.
const MAX_KEPT: usize = 256;
/// Calls of one user at once: three tokens that hang, and less than half of the threads.
const MAX_A_USER: usize = 3 * LANE_WIDTH;
/// Threads for calls.
pub(crate) const MAX_THREADS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SIGN: Operation = Operation::Sign;
    const FIRST: Account = Account::User(1);
    const SECOND: Account = Account::User(2);

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_THREADS)
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn slow_calls_go_two_at_once() {
        let lane = Arc::new(Lane::new());
        let user = Arc::new(Semaphore::new(MAX_A_USER));
        let free = || {
            let turn = || lane.clone().turn_at_once(&user, SIGN);
            let turns: Vec<_> = std::iter::from_fn(turn).collect();
            // What is measured here is not to count.
            let (count, usual) = (turns.len(), lane.usual.load(Relaxed));
            drop(turns);
            lane.usual.store(usual, Relaxed);
            count
        };
        assert_eq!(free(), LANE_WIDTH);
        lane.usual.store(SLOW, Relaxed);
        assert_eq!(free(), 2);
        for _ in 0..100 {
            drop(lane.clone().turn_at_once(&user, SIGN));
        }
        assert_eq!(free(), LANE_WIDTH);
    }

    #[test]
    fn a_lane_that_hangs_stops_no_other() {
        let calls = Arc::new(Calls::default());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        block_on(async {
            hang(&calls, hold, |_| "hangs".to_owned(), 2 * LANE_WIDTH).await;
            let other = calls.run("other", FIRST, SIGN, WHILE, || 7).await;
            assert_eq!(other, Ok(7));
            assert!(calls.longest() > Duration::ZERO);
            drop(release);
            let again = calls.run("hangs", FIRST, SIGN, WHILE, || 8).await;
            assert_eq!(again, Ok(8));
        });
    }

    #[test]
    fn a_user_whose_calls_all_hang_stops_no_other() {
        let calls = Arc::new(Calls::default());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        block_on(async {
            let lane = |number| format!("lane {}", number / LANE_WIDTH);
            hang(&calls, hold, lane, 2 * MAX_THREADS).await;
            assert_eq!(calls.count(), MAX_A_USER);
            // Neither in a lane of its own nor in one where the first user waited.
            for lane in ["other", &lane(2 * MAX_THREADS - 1)] {
                assert_eq!(calls.run(lane, SECOND, SIGN, WHILE, || 7).await, Ok(7));
                assert!(calls.turn(lane, SECOND, SIGN).is_some());
                assert!(calls.turn(lane, FIRST, SIGN).is_none());
            }
            drop(release);
            assert_eq!(calls.run("lane 0", FIRST, SIGN, WHILE, || 8).await, Ok(8));
        });
    }

    #[test]
    fn who_waits_for_a_key_to_be_made_takes_no_place() {
        let calls = Calls::default();
        block_on(async {
            let makes = calls.turn("token", FIRST, Operation::CreateKey).unwrap();
            let describe = || {
                let limit = Duration::from_millis(50);
                calls.run("token", SECOND, Operation::Describe, limit, || 6)
            };
            let (a, b) = tokio::join!(describe(), describe());
            assert_eq!((a, b), (Err(Late), Err(Late)));
            assert!(calls.turn("token", SECOND, Operation::List).is_none());
            let turns = || calls.turn("token", SECOND, SIGN);
            let signing: Vec<_> = std::iter::from_fn(turns).collect();
            assert_eq!(signing.len(), LANE_WIDTH - 1);
            drop((makes, signing));
            assert_eq!(describe().await, Ok(6));
        });
    }

    #[test]
    fn a_client_is_told_once() {
        let calls = Calls::default();
        let peer = Peer::myself();
        let (stream, _client) = UnixStream::pair().unwrap();
        let stream = Arc::new(stream);
        // Late, and not.
        let long_ago = Instant::now().checked_sub(2 * WHILE);
        for since in [long_ago.unwrap(), Instant::now()] {
            let running = calls.begin(&stream, &peer, SIGN, WHILE);
            for call in lock(&calls.running).calls.values_mut() {
                call.since = since;
            }
            let is_late = since.elapsed() > WHILE;
            let late = calls.take_late();
            // No lock is held while they are told.
            assert_eq!(calls.count(), 1);
            assert_eq!(late.len(), usize::from(is_late));
            assert!(calls.take_late().is_empty());
            drop(late);
            assert_eq!(running.end(), !is_late);
            // Whoever answers has it for himself.
            assert_eq!(Arc::strong_count(&stream), 1);
        }
        assert_eq!(calls.count(), 0);
    }

    /// Starts calls of user 1 that return when the other end of `hold` is dropped, and waits until each of
    /// them is late.
    async fn hang(
        calls: &Arc<Calls>,
        hold: std::sync::mpsc::Receiver<()>,
        lane: impl Fn(usize) -> String,
        count: usize,
    ) {
        let hold = Arc::new(Mutex::new(hold));
        let hung: Vec<_> = (0..count)
            .map(|number| {
                let (calls, hold, lane) = (calls.clone(), hold.clone(), lane(number));
                tokio::spawn(async move {
                    let call = move || hold.lock().unwrap().recv().ok();
                    let limit = Duration::from_millis(50);
                    calls.run(&lane, FIRST, SIGN, limit, call).await
                })
            })
            .collect();
        for call in hung {
            assert_eq!(call.await.unwrap(), Err(Late));
        }
    }

    /// For what does not hang.
    const WHILE: Duration = Duration::from_secs(60);
}
