//! A running tedge-hsm-bridge.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use crate::mqtt::await_some;
use crate::{mosquitto, program};

/// A bridge whose configuration is in a folder of the test. It is killed when dropped.
pub struct Bridge {
    child: Child,
    log: PathBuf,
    /// What it said to systemd.
    notifications: Arc<Mutex<Vec<String>>>,
    /// How many of them were awaited already.
    seen: Cell<usize>,
    /// Where its log begins, behind those of bridges before it.
    log_start: usize,
    /// Most memory that was seen in use, in KiB.
    peak: u64,
}

impl Bridge {
    /// Starts it with the configuration `config` in the folder `dir`, and does not wait.
    pub fn spawn(dir: &Path, config: &str) -> Self {
        let file = dir.join("bridge.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program("tedge-hsm-bridge"));
        Self::spawn_command(dir, command.arg("--config").arg(file))
    }

    /// Starts what becomes a bridge.
    pub fn spawn_command(dir: &Path, command: &mut Command) -> Self {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join(LOG))
            .unwrap();
        Self::spawn_with_stderr(dir, command, Stdio::from(file))
    }

    /// Starts it with another stderr than its log.
    pub fn spawn_with_stderr(dir: &Path, command: &mut Command, stderr: Stdio) -> Self {
        let log = dir.join(LOG);
        let log_start = std::fs::read(&log).map_or(0, |log| log.len());
        let path = dir.join("bridge-notify.sock");
        let _ = std::fs::remove_file(&path);
        let notifications = Arc::new(Mutex::new(Vec::new()));
        read_all(UnixDatagram::bind(&path).unwrap(), notifications.clone());
        // Whoever the bridge runs as.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let child = command
            .env("NOTIFY_SOCKET", &path)
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            notifications,
            seen: Cell::new(0),
            log_start,
            peak: 0,
        }
    }

    /// Waits until it says something to systemd that contains `wanted`, after what was awaited before.
    pub fn await_notification(&self, wanted: &str) -> String {
        await_some(wanted, || {
            let said = self.notifications.lock().unwrap();
            let new = said.iter().enumerate().skip(self.seen.get());
            let (at, text) = new.into_iter().find(|(_, text)| text.contains(wanted))?;
            self.seen.set(at + 1);
            Some(text.clone())
        })
    }

    /// Waits until both brokers are connected.
    pub fn await_ready(&self) {
        await_some("both brokers to be connected", || {
            let connected = self.log()[self.log_start..].contains("all brokers are connected");
            connected.then_some(())
        });
        self.await_notification("READY=1");
    }

    /// What it has logged so far, and those before it in the same folder.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `text` is logged once more than `before` times.
    pub fn await_log(&self, text: &str, before: usize) {
        await_some(text, || (self.count(text) > before).then_some(()));
    }

    /// How often `text` was logged.
    pub fn count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Most memory that it had in use, in KiB.
    pub fn peak_memory(&mut self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let now = status.ok().and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        });
        self.peak = self.peak.max(now.unwrap_or(0));
        self.peak
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        mosquitto::signal(&self.child, signal);
    }

    /// Waits for the end, which must be soon.
    pub fn wait(&mut self) -> ExitStatus {
        await_some("the end of the bridge", || self.child.try_wait().unwrap())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.peak_memory();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- bridge's log\n{}", self.log());
        }
    }
}

const LOG: &str = "bridge.log";

/// Who is not listened to would wait.
fn read_all(socket: UnixDatagram, notifications: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(len) = socket.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..len]).into_owned();
            notifications.lock().unwrap().push(text);
        }
    });
}
