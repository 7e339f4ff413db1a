//! The threads that call the module, and the lanes in front of them.
//!
//! A call blocks, and some never return, so each has a thread. Before it gets one it waits in the lane
//! of its token: first come, first served, a few at a time. So clients of one token are served fairly
//! (a mutex in a module is not fair), and a token that hangs takes a few threads, not all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout_at};

/// Starts calls on the module.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    lanes: Mutex<HashMap<String, Arc<Semaphore>>>,
    running: Arc<Mutex<Running>>,
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The lane is full.
    Busy,
    /// It did not return in time, or did not get its turn.
    Late,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    since: HashMap<u64, Instant>,
}

impl Calls {
    /// Runs `call` on a thread of its own when it is its turn in `lane`. A call that does not return
    /// within `limit` keeps its thread and its place in the lane, but not its client.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: &str,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let deadline = tokio::time::Instant::now() + limit;
        let lane = self.lane(lane);
        let turn = match lane.clone().try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => match timeout_at(deadline, lane.acquire_owned()).await {
                Ok(Ok(turn)) => turn,
                // Lanes are never closed.
                Ok(Err(_)) => return Err(Refused::Busy),
                Err(_) => return Err(Refused::Late),
            },
        };
        let running = self.running.clone();
        let mut call = tokio::task::spawn_blocking(move || {
            let _mark = Mark::new(running);
            let result = call();
            drop(turn);
            result
        });
        tokio::select! {
            // A panic ends the process before it gets here.
            result = &mut call => result.map_err(|_| Refused::Late),
            () = sleep_until(deadline) => {
                // If no thread has taken it up yet, none must do so for a client that is gone.
                call.abort();
                Err(Refused::Late)
            }
        }
    }

    /// How long the call has been running that runs longest.
    pub(crate) fn longest(&self) -> Duration {
        let running = lock(&self.running);
        let oldest = running.since.values().min();
        oldest.map(Instant::elapsed).unwrap_or_default()
    }

    fn lane(&self, name: &str) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(name) {
            return lane.clone();
        }
        // Clients choose the names: what they can fill is bounded. Lanes in use stay.
        if lanes.len() >= MAX_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = Arc::new(Semaphore::new(LANE_WIDTH));
        lanes.insert(name.to_owned(), lane.clone());
        lane
    }
}

/// Stands for a running call.
struct Mark {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Mark {
    fn new(running: Arc<Mutex<Running>>) -> Self {
        let mut list = lock(&running);
        let number = list.next;
        list.next += 1;
        list.since.insert(number, Instant::now());
        drop(list);
        Self { running, number }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        lock(&self.running).since.remove(&self.number);
    }
}

fn lock(running: &Mutex<Running>) -> std::sync::MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls on one token at once. A hardware token works on one at a time; the next one waiting inside
/// the module keeps it busy.
const LANE_WIDTH: usize = 4;
const MAX_LANES: usize = 256;
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
                assert_eq!(call.await.unwrap(), Err(Refused::Late));
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
