//! What a process holds.

use std::fmt;
use std::fs;

#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// RssAnon of /proc/PID/status.
    pub memory_kib: u64,
    pub descriptors: usize,
    pub threads: usize,
}

impl Footprint {
    /// Of a signer whose clients were all served.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.unwrap().trim_start_matches(':').split_whitespace();
            value.into_iter().next().unwrap().parse::<u64>().unwrap()
        };
        Self {
            memory_kib: field("RssAnon"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            threads: usize::try_from(field("Threads")).unwrap(),
        }
    }

    /// Whether this is as much as `before`, but for what a heap that is in pieces takes, and for threads:
    /// they stay, and there are as many as were ever needed at once.
    pub fn is_as(self, before: Self) -> bool {
        let threads = self.threads.saturating_sub(before.threads) as u64;
        self.memory_kib <= before.memory_kib + before.memory_kib / 4 + 1024 + THREAD_KIB * threads
            && self.descriptors <= before.descriptors + 4
            && self.threads <= MAX_THREADS
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} KiB, {} descriptors, {} threads",
            self.memory_kib, self.descriptors, self.threads
        )
    }
}

/// What a thread touches of its stack and of its share of the heap.
const THREAD_KIB: u64 = 128;
/// Those that accept, those for calls, and a few.
const MAX_THREADS: usize = 10 + 64 + 6;
