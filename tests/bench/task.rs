//! What runs in a process of its own, so that its CPU time is its own and it finds the HSM by its
//! environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use support::Hsm;
use support::hsm::{LABEL, PIN};

use crate::handshakes::{self, Identity};
use crate::load::Measurement;
use crate::objects;
use crate::solo::SOCKET;
use crate::way::Way;

/// Given to this program itself, as JSON.
#[derive(Debug, Deserialize, Serialize)]
pub enum Task {
    /// Signatures with the key of that label.
    Sign {
        way: Way,
        /// The module or the socket.
        place: PathBuf,
        key: String,
        clients: usize,
        duration: Duration,
    },
    /// TLS handshakes with the server on that port.
    Handshake {
        identity: Identity,
        ca: PathBuf,
        port: u16,
        clients: usize,
        duration: Duration,
    },
    /// A TLS server; it says its port, and ends with its standard input.
    ServeTls {
        ca: PathBuf,
        certificate: PathBuf,
        key: PathBuf,
        threads: usize,
    },
    /// More objects on the first token.
    AddObjects { module: PathBuf, count: usize },
}

impl Task {
    /// A process that runs it, with the HSM in its environment.
    pub fn command(&self, hsm: &Hsm) -> anyhow::Result<Command> {
        let mut command = hsm.command(std::env::current_exe()?);
        command.arg("--task").arg(serde_json::to_string(self)?);
        Ok(command)
    }

    /// Runs it in a process of its own and returns what that prints.
    pub fn output(&self, hsm: &Hsm) -> anyhow::Result<Vec<u8>> {
        let output = self.command(hsm)?.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "failed: {self:?}");
        Ok(output.stdout)
    }

    /// [`output`](Self::output) of one that measures.
    pub fn measure(&self, hsm: &Hsm) -> anyhow::Result<Measurement> {
        Ok(serde_json::from_slice(&self.output(hsm)?)?)
    }

    /// The same with our module, which asks the signer at `socket`.
    pub fn measure_behind(&self, hsm: &Hsm, socket: &Path) -> anyhow::Result<Measurement> {
        let mut command = self.command(hsm)?;
        let output = command
            .env(SOCKET, socket)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "failed: {self:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs it in this process.
    pub fn run(&self) -> anyhow::Result<()> {
        let measurement = match self {
            Self::Sign {
                way,
                place,
                key,
                clients,
                duration,
            } => {
                let uri = format!("pkcs11:token={LABEL};object={key}");
                way.measure(place, &uri, PIN, *clients, *duration)?
            }
            Self::Handshake {
                identity,
                ca,
                port,
                clients,
                duration,
            } => handshakes::measure(identity, ca, *port, *clients, *duration)?,
            Self::ServeTls {
                ca,
                certificate,
                key,
                threads,
            } => return handshakes::serve(ca, certificate, key, *threads),
            Self::AddObjects { module, count } => return objects::add(module, *count),
        };
        println!("{}", serde_json::to_string(&measurement)?);
        Ok(())
    }
}
