//! The EST server in tests/est-server.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::{Ca, Debian13, repository};

/// An EST server that issues with a [`Ca`], on a port of its own.
pub struct EstServer {
    child: Child,
    /// The server ends when this is closed.
    stdin: Option<ChildStdin>,
    port: u16,
}

impl EstServer {
    pub fn start(ca: &Ca) -> Self {
        Self::spawn(Command::new(script()), ca)
    }

    /// With the TLS of Debian 13, which takes client certificates with ML-DSA keys.
    pub fn start_by(debian13: &Debian13, ca: &Ca) -> Self {
        let mut python = debian13.command("usr/bin/python3");
        python.arg(script());
        Self::spawn(python, ca)
    }

    fn spawn(mut server: Command, ca: &Ca) -> Self {
        if let Some(folder) = ca.openssl_folder() {
            let path = std::env::var("PATH").unwrap_or_default();
            server.env("PATH", format!("{}:{path}", folder.display()));
        }
        let mut child = server
            .arg(ca.file(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim_end().parse();
        Self {
            stdin: child.stdin.take(),
            child,
            port: port.unwrap_or_else(|_| panic!("tests/est-server did not start: {line:?}")),
        }
    }

    /// That answers in the way of `label`.
    pub fn url(&self, label: &str) -> String {
        format!("https://localhost:{}/.well-known/est/{label}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for EstServer {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn script() -> PathBuf {
    repository().join("tests/est-server")
}
