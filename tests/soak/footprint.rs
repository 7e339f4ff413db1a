//! What a process holds.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// RssAnon of /proc/PID/status.
    pub memory_kib: u64,
    pub descriptors: usize,
    pub threads: usize,
}

impl Footprint {
    /// Of a signer that has nothing to do, once the threads that it started for a while have ended.
    pub fn at_rest(pid: u32) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        while names_of_threads(pid).iter().any(|name| name == POOL) {
            assert!(Instant::now() < deadline, "threads for calls do not end");
            std::thread::sleep(Duration::from_millis(50));
        }
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

    /// Whether this is as much as `before`, but for what a heap that is in pieces takes.
    pub fn is_as(self, before: Self) -> bool {
        self.memory_kib <= before.memory_kib + before.memory_kib / 4 + 1024
            && self.descriptors <= before.descriptors + 2
            && self.threads <= before.threads
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

fn names_of_threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// What the threads are called that end when there was nothing for them to do for 10 s.
const POOL: &str = "pkcs11";
