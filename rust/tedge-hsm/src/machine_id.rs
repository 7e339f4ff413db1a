//! The machine's id, which names the device where nobody does.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::root::Root;

/// In the name of a device: the machine's id.
pub(crate) const NAME: &str = "%m";
/// What `setup` made for commissioning, and how far it came.
pub(crate) const STATE_FOLDER: &str = "/var/lib/tedge-hsm";

/// The machine's id, as `setup` found it when it ran first: with a read-only root each boot may make up another, and so
/// may an update. The device keeps its name.
pub(crate) fn read(root: &Root) -> anyhow::Result<String> {
    let read = |path| tedge_file::read_text(path, tedge_file::MAX_SETTINGS);
    let kept = kept_path(root);
    match read(&kept) {
        Ok(kept) => Ok(kept),
        Err(error) if error.is_not_found() => {
            read("/etc/machine-id".as_ref()).context("cannot read /etc/machine-id")
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", kept.display())),
    }
}

/// Where `setup` keeps it.
pub(crate) fn kept_path(root: &Root) -> PathBuf {
    root.path(STATE_FOLDER).join("machine-id")
}

/// The name with the machine's id where it says so.
pub(crate) fn put_in(name: &str, root: &Root) -> anyhow::Result<String> {
    if name.contains(NAME) {
        Ok(name.replace(NAME, read(root)?.trim_end()))
    } else {
        Ok(name.to_owned())
    }
}
