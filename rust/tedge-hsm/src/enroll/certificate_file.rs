//! Where the device's first certificate goes: whose it is, and in which folder.

use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{Mode, fchmod};
use tedge_file::Folder;

use crate::file;

/// Makes the folder of the certificate, if need be, in one that is there, and for the user who has that one.
pub(super) fn make_folder(cert: &Path) -> anyhow::Result<()> {
    let path = file::folder(cert);
    let failed = || format!("cannot make {}", path.display());
    if path.is_dir() {
        return Ok(());
    }
    let above = Folder::open(file::folder(path)).with_context(failed)?;
    let name = path.file_name().with_context(failed)?;
    let Some(folder) = above.make_in(name, 0o755).with_context(failed)? else {
        return Ok(());
    };
    let above = above.file().metadata().with_context(failed)?;
    let made = folder.file().metadata().with_context(failed)?;
    // What somebody else has put there meanwhile stays as it is.
    let own = rustix::process::geteuid();
    if made.uid() != own.as_raw() || !folder.names(1).is_ok_and(|names| names.is_empty()) {
        return Ok(());
    }
    // Whatever the umask is: the certificate is for everybody to read.
    fchmod(folder.file(), Mode::from_raw_mode(0o755)).with_context(failed)?;
    if own.is_root() && above.uid() != 0 {
        fchown(folder.file(), Some(above.uid()), Some(above.gid())).with_context(failed)?;
    }
    Ok(())
}
