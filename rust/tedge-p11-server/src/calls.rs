//! The threads that call the module, and the lanes in front of them.
//!
//! A call blocks, and some never return, so each has a thread. Before it gets one it waits in the lane
//! of its token: first come, first served, a few at a time. So clients of one token are served fairly
//! (a mutex in a module is not fair), and a token that hangs takes a few threads, not all.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tedge_p11_protocol::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep_until, timeout_at};

use crate::connection;

/// Starts calls on the module.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
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
    /// Microseconds that the last calls took, the latest weighing most.
    usual: AtomicU64,
}

/// A place in a lane, held while a call runs.
#[derive(Debug)]
pub(crate) struct Turn {
    lane: Arc<Lane>,
    since: Instant,
    _permits: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    calls: HashMap<u64, Call>,
}

#[derive(Debug)]
struct Call {
    since: Instant,
    /// The client to be told when the call is late, if nobody else does it.
    client: Option<(OwnedFd, Duration)>,
}

impl Calls {
    /// Runs `call` on a thread of its own when it is its turn in `lane`. A call that does not return
    /// within `limit` keeps its thread and its place in the lane, but not its client.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: &str,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let deadline = tokio::time::Instant::now() + limit;
        let Ok(Some(turn)) = timeout_at(deadline, self.lane(lane).turn()).await else {
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

    /// A turn in `lane` for a call that is made right here, if nobody waits there.
    pub(crate) fn turn(&self, lane: &str) -> Option<Turn> {
        self.lane(lane).turn_at_once()
    }

    /// Notes a call that is made right here for the client on `socket`.
    pub(crate) fn begin(&self, socket: &impl AsFd, limit: Duration) -> Mark {
        // Without a descriptor to spare, the client has its own limit.
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, 0).ok();
        Mark::new(self.running.clone(), socket.map(|socket| (socket, limit)))
    }

    /// Tells the clients of calls made right here that are late.
    pub(crate) fn tell_late(&self) {
        for call in lock(&self.running).calls.values_mut() {
            let late = |(_, limit): &mut (OwnedFd, Duration)| call.since.elapsed() > *limit;
            if let Some((socket, limit)) = call.client.take_if(late) {
                let message = connection::late(limit);
                log::warn!("{message}");
                let frame = Response::Error(message).encode();
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let _ = send(&socket, &frame, flags);
                let _ = shutdown(&socket, Shutdown::Both);
            }
        }
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
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(name) {
            return lane.clone();
        }
        // Clients choose the names: what they can fill is bounded. Lanes in use stay.
        if lanes.len() >= MAX_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = Arc::new(Lane::new());
        lanes.insert(name.to_owned(), lane.clone());
        lane
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            width: Arc::new(Semaphore::new(LANE_WIDTH)),
            usual: AtomicU64::new(0),
        }
    }

    /// Waits for a turn. None can't be: lanes are never closed.
    async fn turn(self: Arc<Self>) -> Option<Turn> {
        let permits = self.width.clone().acquire_many_owned(self.share()).await;
        Some(Turn::new(self, permits.ok()?))
    }

    fn turn_at_once(self: Arc<Self>) -> Option<Turn> {
        let permits = self.width.clone().try_acquire_many_owned(self.share());
        Some(Turn::new(self, permits.ok()?))
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
    fn new(lane: Arc<Lane>, permits: OwnedSemaphorePermit) -> Self {
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
        self.lane.usual.store((7 * usual + took) / 8, Relaxed);
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
    fn new(running: Arc<Mutex<Running>>, client: Option<(OwnedFd, Duration)>) -> Self {
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

    /// The call has returned. Tells whether its client still waits for the answer.
    pub(crate) fn end(mut self) -> bool {
        self.remove()
            .is_some_and(|call| call.client.is_some() || call.since.elapsed() < NO_CLIENT)
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

/// Calls on one token at once. SoftHSM2 on two cores was fastest with 8 (2: 40 %, 4: 60 %, 8: 72 % of the
/// floor with 16 clients).
pub(crate) const LANE_WIDTH: usize = 8;
/// Microseconds: what takes as long is hardware, or acts as if it were. It works on one call at a time, and
/// the next one waiting inside the module keeps it busy. More would only wait for the module's own lock,
/// which is not fair: with 64 clients on swtpm, the slowest waited half as long again as the average.
const SLOW: u64 = 4000;
/// Two at once.
const SLOW_SHARE: u32 = 4;
const MAX_LANES: usize = 256;
/// A call whose client's descriptor could not be copied is answered if it was quick.
const NO_CLIENT: Duration = Duration::from_secs(20);
/// Threads for calls.
pub(crate) const MAX_THREADS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn slow_calls_go_two_at_once() {
        let lane = Arc::new(Lane::new());
        let free = || {
            let turns: Vec<_> = std::iter::from_fn(|| lane.clone().turn_at_once()).collect();
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
            drop(lane.clone().turn_at_once());
        }
        assert_eq!(free(), LANE_WIDTH);
    }

    #[test]
    fn a_lane_that_hangs_stops_no_other() {
        let calls = Arc::new(Calls::default());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        block_on(async {
            let hung: Vec<_> = (0..2 * LANE_WIDTH)
                .map(|_| {
                    let (calls, hold) = (calls.clone(), hold.clone());
                    tokio::spawn(async move {
                        let call = move || hold.lock().unwrap().recv().ok();
                        calls.run("hangs", Duration::from_millis(50), call).await
                    })
                })
                .collect();
            for call in hung {
                assert_eq!(call.await.unwrap(), Err(Late));
            }
            let other = calls.run("other", Duration::from_secs(60), || 7).await;
            assert_eq!(other, Ok(7));
            assert!(calls.longest() >= Duration::from_millis(50));
            drop(release);
            let again = calls.run("hangs", Duration::from_secs(60), || 8).await;
            assert_eq!(again, Ok(8));
        });
    }
}
