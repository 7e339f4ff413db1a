//! Starting the signer with what was changed.

use super::context::Setup;
use super::state_folder::StateFolder;
use super::systemd::systemctl;

/// Starts it anew, and its socket if that is not there. Returns when the signer answers.
pub(super) fn signer(setup: &Setup, folder: &StateFolder) -> anyhow::Result<()> {
    let root = &setup.root;
    systemctl(root, &["daemon-reload"])?;
    // It may have failed often while something was missing.
    systemctl(
        root,
        &[
            "reset-failed",
            "tedge-p11-server.service",
            "tedge-p11-server.socket",
        ],
    )?;
    systemctl(root, &["start", "tedge-p11-server.socket"])?;
    systemctl(root, &["restart", "tedge-p11-server.service"])?;
    folder.restarted()
}
