//! A mosquitto that keeps its sessions and messages when it is ended and started again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::broker::{await_port, free_port};
use crate::debian13::Debian13;
use crate::openssl::Ca;

/// A broker with persistence, open to everybody on `port`, and to clients with a certificate of the CA, if
/// there is one, on `tls_port`.
pub struct Mosquitto {
    pub port: u16,
    pub tls_port: u16,
    dir: TempDir,
    /// Whose it is, if not this machine's.
    by: Option<Debian13>,
    child: Option<Child>,
}

impl Mosquitto {
    pub fn start(ca: Option<&Ca>) -> Self {
        Self::start_with(ca, "")
    }

    /// With more lines of configuration.
    pub fn start_with(ca: Option<&Ca>, more: &str) -> Self {
        Self::start_as(None, ca.map(|ca| (ca, ca.certificate())), more)
    }

    /// That of another Debian than this machine's.
    pub fn start_by(by: Debian13, ca: &Ca) -> Self {
        Self::start_as(Some(by), Some((ca, ca.certificate())), "")
    }

    /// Open to clients with a certificate of those in the file `clients`, with the server's certificate of `ca`.
    pub fn start_with_clients(ca: &Ca, clients: &Path) -> Self {
        Self::start_as(None, Some((ca, clients.to_owned())), "")
    }

    fn start_as(by: Option<Debian13>, ca: Option<(&Ca, PathBuf)>, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let mut config = format!(
            "user {user}\nlog_dest file {dir}/log\nlog_type all\npersistence true\n\
             persistence_location {dir}/\nmax_queued_messages 0\n{more}\n\
             listener {port} 127.0.0.1\nallow_anonymous true\n",
            user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
            dir = dir.path().display(),
        );
        if let Some((ca, clients)) = ca {
            write!(
                config,
                "listener {tls_port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
                 use_subject_as_username true\ncafile {ca}\ncertfile {cert}\nkeyfile {key}\n",
                ca = clients.display(),
                cert = ca.file("localhost.pem").display(),
                key = ca.file("localhost.key").display(),
            )
            .unwrap();
        }
        std::fs::write(dir.path().join("conf"), config).unwrap();
        let mut mosquitto = Self {
            port,
            tls_port,
            dir,
            by,
            child: None,
        };
        mosquitto.run();
        mosquitto
    }

    pub fn run(&mut self) {
        // Debian has it in /usr/sbin, which is not in everybody's PATH.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = match &self.by {
            Some(by) => by.command("usr/sbin/mosquitto"),
            None => Command::new("mosquitto"),
        };
        let mut child = command
            .env("PATH", path)
            .arg("-c")
            .arg(self.dir.path().join("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        await_port(self.port, &mut child);
        self.child = Some(child);
    }

    /// Ends it; it saves what it has. With SIGKILL it would not: mosquitto writes its database now and
    /// then, and acknowledges without that.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::TERM);
            child.wait().unwrap();
        }
    }

    /// Ends it, and removes what it has saved: all sessions and messages.
    pub fn forget(&mut self) {
        self.end();
        std::fs::remove_file(self.dir.path().join("mosquitto.db")).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Lets it hang.
    pub fn freeze(&self) {
        signal(self.child.as_ref().unwrap(), Signal::STOP);
    }

    pub fn thaw(&self) {
        signal(self.child.as_ref().unwrap(), Signal::CONT);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process that was not waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
