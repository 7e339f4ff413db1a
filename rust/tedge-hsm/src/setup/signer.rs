//! The signer: enabled, and started with all that was configured.

use anyhow::Context as _;

use super::context::Setup;
use super::restart;
use super::state_folder::{StateFolder, restart_is_due};
use super::step::{State, Step};
use super::systemd;

pub(super) struct Signer;

impl Step for Signer {
    fn name(&self) -> &'static str {
        "signer"
    }

    fn aim(&self, setup: &Setup) -> String {
        if setup.is_machine() {
            format!("enable {SOCKET} and start the signer")
        } else {
            format!("enable {SOCKET}")
        }
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        let is_enabled = systemd::is(&setup.root, "is-enabled", SOCKET);
        let runs = !setup.is_machine()
            || (!restart_is_due(setup) && systemd::is(&setup.root, "is-active", SOCKET));
        Ok(if is_enabled && runs {
            State::Done(format!("{SOCKET} is enabled"))
        } else {
            State::ToDo(self.aim(setup))
        })
    }

    fn run(&self, setup: &Setup, folder: Option<&StateFolder>) -> anyhow::Result<String> {
        let Some(folder) = folder else {
            systemd::systemctl(&setup.root, &["enable", SOCKET])?;
            return Ok(format!("{SOCKET} is enabled"));
        };
        systemd::systemctl(&setup.root, &["daemon-reload"])?;
        if !systemd::is(&setup.root, "is-enabled", SOCKET) {
            systemd::systemctl(&setup.root, &["enable", SOCKET])?;
        }
        restart::signer(setup, folder)
            .context("the signer does not start, and journalctl -u tedge-p11-server says why")?;
        Ok(format!("{SOCKET} is enabled, the signer runs"))
    }
}

const SOCKET: &str = "tedge-p11-server.socket";
