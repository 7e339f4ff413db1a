//! `/var/lib/tedge-hsm`: what `setup` made for commissioning, and how far it came.

use std::path::PathBuf;

use anyhow::Context as _;
use tedge_file::{Folder, Lock};

use super::context::Setup;
use super::files;
use super::lasting::{self, NotLasting};
use crate::machine_id;
use crate::output::note;

/// The folder, for one run at a time.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    folder: Folder,
    _lock: Lock,
}

impl StateFolder {
    /// Makes the folder if need be, and waits for another run to end.
    pub(super) fn open(setup: &Setup) -> anyhow::Result<Self> {
        let path = path(setup);
        let folder = files::make_folder(&path, 0o755)?;
        let lock_file = path.join("setup.lock");
        let failed = || format!("cannot lock {}", lock_file.display());
        let lock = match Lock::try_take(&lock_file).with_context(failed)? {
            Some(lock) => lock,
            None => {
                note("another setup runs, perhaps the first boot's; waiting for its end");
                Lock::wait(&lock_file).with_context(failed)?
            }
        };
        Ok(Self {
            path,
            folder,
            _lock: lock.with_file_left(),
        })
    }

    /// Something is about to be changed that the signer reads when it starts.
    pub(super) fn expect_restart(&self) -> anyhow::Result<()> {
        self.mark(RESTART)
    }

    /// The signer was started after all such changes.
    pub(super) fn restarted(&self) -> anyhow::Result<()> {
        match self.folder.remove(RESTART.as_ref()) {
            Err(error) if !error.is_not_found() => {
                Err(error).with_context(|| format!("cannot remove {RESTART}"))
            }
            _ => Ok(()),
        }
    }

    /// For the first boot's unit, which does not start then.
    pub(super) fn mark_finished(&self) -> anyhow::Result<()> {
        self.mark(FINISHED)
    }

    fn mark(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        if path.exists() {
            return Ok(());
        }
        files::replace(&path, b"", 0o644)
    }
}

/// Whether the signer must be started anew, so that it has what was changed.
pub(super) fn restart_is_due(setup: &Setup) -> bool {
    path(setup).join(RESTART).exists()
}

/// Where requests and certificates for commissioning are.
pub(super) fn path(setup: &Setup) -> PathBuf {
    setup.root.path(machine_id::STATE_FOLDER)
}

/// Keeps the machine's id, which the certificate's name may be made of. The state folder is there.
pub(super) fn keep_machine_id(setup: &Setup) -> anyhow::Result<()> {
    let path = setup.machine_id_file();
    if path.exists() {
        return Ok(());
    }
    files::replace(&path, setup.machine_id()?.as_bytes(), 0o644)
}

/// Fails where a reboot would leave nothing of what is to be made: PINs, and tokens that are files.
pub(super) fn check_lasting(setup: &Setup) -> Result<(), NotLasting> {
    if !setup.is_machine() {
        return Ok(());
    }
    for folder in [path(setup), setup.root.path(SIGNERS)] {
        if let Some(kind) = lasting::in_memory(&folder) {
            return Err(NotLasting::InMemory { folder, kind });
        }
    }
    Ok(())
}

/// `StateDirectory=` of the signer, where tokens are that are files.
const SIGNERS: &str = "/var/lib/tedge-p11-server";
const RESTART: &str = "restart-is-due";
const FINISHED: &str = "provisioned";
