//! The calls on the module that run: each has a thread, since it blocks, and some never return. A client whose
//! call is late is told; the call keeps its thread and its turn.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tedge_p11_config::{Operation, Peer};
use tedge_p11_protocol::Response;
use tokio::time::{sleep_until, timeout_at};

use super::lanes::{Full, Lanes, Queued, Taken};

/// Starts calls on the module.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    lanes: Arc<Lanes>,
    running: Arc<Mutex<Running>>,
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It did not return in time, or did not get its turn.
    Late,
    /// Too much of its account waits.
    Full(Full),
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
    /// Runs `call` on a thread of its own when it is its turn. A call that does not return within `limit` keeps
    /// its thread and its turn, but not its client.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        queued: Queued,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Missed> {
        let deadline = tokio::time::Instant::now() + limit;
        let waiting = self.lanes.wait(&queued).map_err(Missed::Full)?;
        let Ok(Some(turn)) = timeout_at(deadline, waiting.turn()).await else {
            return Err(Missed::Late);
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
            result = &mut call => result.map_err(|_| Missed::Late),
            () = sleep_until(deadline) => {
                // If no thread has taken it up yet, none must do so for a client that is gone.
                call.abort();
                Err(Missed::Late)
            }
        }
    }

    /// A turn for a call that is made right here, if it need not wait for one.
    pub(crate) fn take(&self, queued: &Queued) -> Taken {
        self.lanes.take(queued)
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

fn lock(running: &Mutex<Running>) -> std::sync::MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads for calls.
pub(crate) const MAX_THREADS: usize = 64;

#[cfg(test)]
mod tests {
    use tedge_p11_config::Account;

    use super::*;
    use crate::queue::lane::LANE_WIDTH;

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

    fn signature(lane: &str, account: Account) -> Queued {
        Queued {
            lane: lane.into(),
            account,
            operation: SIGN,
            most: usize::MAX,
            bytes: 0,
        }
    }

    #[test]
    fn a_lane_that_hangs_stops_no_other() {
        let calls = Arc::new(Calls::default());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        block_on(async {
            let width = LANE_WIDTH as usize;
            hang(&calls, hold, |_| "hangs".to_owned(), 2 * width).await;
            let other = calls.run(signature("other", FIRST), WHILE, || 7).await;
            assert_eq!(other, Ok(7));
            assert!(calls.longest() > Duration::ZERO);
            drop(release);
            goes_on(&calls, "hangs").await;
        });
    }

    #[test]
    fn a_user_whose_calls_all_hang_stops_no_other() {
        let calls = Arc::new(Calls::default());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let width = LANE_WIDTH as usize;
        block_on(async {
            let lane = |number| format!("lane {}", number / width);
            hang(&calls, hold, lane, 2 * MAX_THREADS).await;
            assert_eq!(calls.count(), 3 * width);
            // Neither in a lane of its own nor in one where the first user waited.
            for lane in ["other", &lane(2 * MAX_THREADS - 1)] {
                let of_second = signature(lane, SECOND);
                assert_eq!(calls.run(of_second.clone(), WHILE, || 7).await, Ok(7));
                assert!(matches!(calls.take(&of_second), Taken::Turn(_)));
                assert!(matches!(calls.take(&signature(lane, FIRST)), Taken::Wait));
            }
            drop(release);
            goes_on(&calls, "lane 0").await;
        });
    }

    #[test]
    fn who_may_not_even_wait_is_told_so_at_once() {
        let calls = Arc::new(Calls::default());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        block_on(async {
            let width = LANE_WIDTH as usize;
            hang(&calls, hold, |_| "hangs".to_owned(), width).await;
            let no_more = Queued {
                most: 0,
                ..signature("hangs", FIRST)
            };
            let full = calls.run(no_more, WHILE, || 7).await;
            assert_eq!(full, Err(Missed::Full(Full::Requests)));
            drop(release);
        });
    }

    #[test]
    fn a_client_is_told_once() {
        let calls = Calls::default();
        let peer = Peer::with_groups(1, 1, &[1]);
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

    /// The first user's calls have their turns in the lane again.
    async fn goes_on(calls: &Calls, lane: &str) {
        let again = calls.run(signature(lane, FIRST), WHILE, || 8).await;
        assert_eq!(again, Ok(8));
    }

    /// Starts calls of the first user that return when the other end of `hold` is dropped, and waits until each
    /// of them is late.
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
                    calls.run(signature(&lane, FIRST), limit, call).await
                })
            })
            .collect();
        for call in hung {
            assert_eq!(call.await.unwrap(), Err(Missed::Late));
        }
    }

    /// For what does not hang.
    const WHILE: Duration = Duration::from_secs(60);
}
