//! `openssl s_server` that tells of each handshake's messages.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::Ca;
use support::mqtt::await_some;

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Server {
    /// This machine's.
    pub(crate) fn start_here(ca: &Ca, args: &[&str]) -> Self {
        Self::start(Command::new("openssl"), ca, args)
    }

    pub(crate) fn start(mut openssl: Command, ca: &Ca, args: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = openssl
            .arg("s_server")
            .args(["-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(ca.file("localhost.pem"))
            .arg("-key")
            .arg(ca.file("localhost.key"))
            .arg("-CAfile")
            .arg(ca.certificate())
            .args(["-Verify", "2", "-verify_return_error", "-rev", "-msg"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let server = Self {
            child,
            port,
            log,
            _dir: dir,
        };
        await_some("s_server to listen", || {
            server.log().contains("ACCEPT").then_some(())
        });
        server
    }

    /// Waits until so many connections have stood, and returns what it has said.
    pub(crate) fn await_established(&self, count: usize) -> String {
        await_some("the server's word", || {
            let log = self.log();
            let is_done = log.matches("Supported groups:").count() >= count
                || log.matches("CONNECTION CLOSED").count() >= count;
            is_done.then_some(log)
        })
    }

    fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- s_server\n{}", self.log());
        }
    }
}
