//! Files that root writes, in folders that may be another user's.

use std::path::Path;

use anyhow::{Context as _, bail};
use tedge_file::{Attributes, Edited, Folder, MAX_SETTINGS};

/// What is in the file, if it is there.
pub(super) fn text(path: &Path) -> anyhow::Result<Option<String>> {
    match tedge_file::read_text(path, MAX_SETTINGS) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The file as it is, to be written with another text.
pub(super) fn edit(path: &Path) -> anyhow::Result<Edited> {
    Edited::read(path, MAX_SETTINGS).with_context(|| format!("cannot read {}", path.display()))
}

/// Puts `content` in the file's place, whole or not at all, and for good when this returns. Owner and mode are
/// those of the file that was there; of a new one the mode is `mode`.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    tedge_file::write(path, content, Attributes::Keep { mode })
        .with_context(|| format!("cannot write {}", path.display()))
}

/// What is to be edited is the file itself: where a link leads, others may not expect it to change.
pub(super) fn check_no_link(path: &Path) -> anyhow::Result<()> {
    if path.is_symlink() {
        bail!(
            "{} is a symbolic link: put the file itself there, as nothing is written to where a link leads",
            path.display()
        );
    }
    Ok(())
}

/// Makes the folder if need be, with `mode`, as do those that it is in; for good when this returns.
pub(super) fn make_folder(path: &Path, mode: u32) -> anyhow::Result<Folder> {
    Folder::make(path, mode).with_context(|| format!("cannot make {}", path.display()))
}

/// Removes what a run that was killed has left beside the files that it was writing. No other run is under way.
pub(super) fn sweep(path: &Path) {
    let Ok(folder) = Folder::open(path) else {
        return;
    };
    for name in folder.names(MOST_FILES).unwrap_or_default() {
        let is_left = name
            .to_str()
            .is_some_and(|name| name.starts_with(TEMPORARY));
        if is_left {
            // If it stays, it is in nobody's way.
            let _ = folder.remove(&name);
        }
    }
}

/// How the names of tedge-file's temporary files begin.
const TEMPORARY: &str = ".tedge-hsm-";
/// In a folder of settings.
const MOST_FILES: usize = 10_000;
