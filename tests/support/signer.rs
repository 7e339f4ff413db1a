//! A running tedge-p11-server.

use std::fmt::Display;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tedge_p11_client::{Client, Pin, SocketKey};

use crate::hsm::{Hsm, PIN};
use crate::{parse_uri, program, without_proxy};

static FLUSHES: AtomicU8 = AtomicU8::new(0);

/// Name of the policy's file.
pub const POLICY: &str = "tedge-p11-server.toml";

/// Lets everybody sign anything and change everything: most tests are about something else.
pub const ALL_ALLOWED: &str = r#"
[[rule]]
operations = ["sign", "describe", "list", "create-key", "delete-key", "init-token", "change-pin",
              "import-certificate"]
purposes = ["any"]

[limits]
requests-per-second = 1000000
"#;

/// A signer that said READY=1. It is ended when dropped.
pub struct Signer {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
    notify: UnixDatagram,
}

impl Signer {
    /// With the PIN, confined to nothing.
    pub fn start(hsm: &Hsm) -> Self {
        Self::start_with(hsm, &["--pin", PIN])
    }

    pub fn start_with(hsm: &Hsm, args: &[&str]) -> Self {
        let mut command = Self::command(hsm, &hsm.module());
        command.args(args);
        Self::spawn(hsm, &mut command)
    }

    /// With the policy that a signer has without a file.
    pub fn start_with_default_policy(hsm: &Hsm) -> Self {
        std::fs::remove_file(hsm.file(POLICY)).unwrap();
        Self::start(hsm)
    }

    /// The command, as thin-edge.io's is called; no configuration of this machine gets in.
    pub fn command(hsm: &Hsm, module: &Path) -> Command {
        let mut command = hsm.command(program("tedge-p11-server"));
        command
            .arg("--module-path")
            .arg(module)
            .arg("--socket-path")
            .arg(hsm.file("signer.sock"))
            .arg("--config-dir")
            .arg(hsm.dir.path());
        command
    }

    /// Starts `command` and waits until it says that it is ready.
    pub fn spawn(hsm: &Hsm, command: &mut Command) -> Self {
        let log = hsm.file("signer.log");
        let file = std::fs::File::create(&log).unwrap();
        let notify_path = hsm.file("notify.sock");
        let _ = std::fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        // The signer may run as another user.
        std::fs::set_permissions(&notify_path, std::fs::Permissions::from_mode(0o777)).unwrap();
        notify
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let child = command
            .env("NOTIFY_SOCKET", &notify_path)
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        let mut signer = Self {
            child,
            socket: hsm.file("signer.sock"),
            log,
            notify,
        };
        let mut message = [0; 256];
        let len = signer.notify.recv(&mut message).unwrap_or_else(|error| {
            let status = signer.child.try_wait();
            panic!("not ready: {error}, {status:?}: {}", signer.log())
        });
        assert_eq!(&message[..len], b"READY=1\n", "{}", signer.log());
        signer
    }

    /// Reads what the signer tells systemd, as systemd does, until it has been gone for a minute.
    pub fn read_notifications(&self) {
        let notify = self.notify.try_clone().unwrap();
        std::thread::spawn(move || while notify.recv(&mut [0; 4096]).is_ok() {});
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    pub fn key(&self, uri: impl Display) -> SocketKey {
        SocketKey::open(self.client(), &parse_uri(uri), None).unwrap()
    }

    pub fn key_with_pin(
        &self,
        uri: impl Display,
        pin: &str,
    ) -> Result<SocketKey, tedge_p11_client::Error> {
        let pin = Pin::new(pin.to_owned()).unwrap();
        SocketKey::open(self.client(), &parse_uri(uri), Some(pin))
    }

    /// tedge-hsm through the socket.
    pub fn tedge_hsm(&self) -> Command {
        let mut command = Command::new(program("tedge-hsm"));
        without_proxy(&mut command);
        command.arg("--socket-path").arg(&self.socket);
        command
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.flush_log();
        self.written_log()
    }

    /// How many requests the log tells of, in lines in which `is_line` finds a request of its own and in those that
    /// count more of the same user, such as `change-pin failed`. Waits for the latter, which come after a second.
    pub fn logged(&self, is_line: impl Fn(&str) -> bool, what: &str, expected: usize) -> usize {
        let count = |log: &str| {
            let own = log.lines().filter(|line| is_line(line)).count();
            let more = log.lines().filter_map(|line| {
                let (before, after) = line.split_once(" more requests of ")?;
                after
                    .ends_with(&format!("within a second: {what}"))
                    .then_some(())?;
                before.rsplit(' ').next()?.parse::<usize>().ok()
            });
            own + more.sum::<usize>()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = count(&self.log());
            if found >= expected || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lines wait in a queue: one more is caused, by what is no request, and waited for. It may be left out,
    /// because of others of this user, or the signer may be gone.
    fn flush_log(&self) {
        let caused = || self.written_log().matches("bad request: ").count();
        let before = caused();
        let Ok(mut stream) = UnixStream::connect(&self.socket) else {
            return;
        };
        let limit = Duration::from_secs(2);
        stream.set_read_timeout(Some(limit)).unwrap();
        // Each time another frame that there is not: what is wrong again within a second is only counted.
        let number = FLUSHES.fetch_add(1, Relaxed) % 100;
        let sent = stream.write_all(&[0, 24 + number]);
        let answered = sent.and_then(|()| stream.read_to_end(&mut Vec::new()));
        let deadline = Instant::now() + limit;
        while answered.is_ok() && caused() == before && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    fn written_log(&self) -> String {
        let mut log = String::new();
        let mut file = std::fs::File::open(&self.log).unwrap();
        file.read_to_string(&mut log).unwrap();
        log
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::TERM);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- signer's log\n{}", self.log());
        }
    }
}
