//! Reading what somebody else may have put there.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file. What is something else is refused, without waiting for who writes to a pipe.
pub(crate) fn open(path: &Path) -> Result<File> {
    let nonblock = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = File::options()
        .read(true)
        .custom_flags(nonblock)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// What is in it, if that is not far more than an operator writes.
pub(crate) fn read(file: &File) -> Result<String> {
    let mut text = String::new();
    file.take(MAX_LEN + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_LEN {
        return Err(Error::new(ErrorKind::InvalidData, "it is too long"));
    }
    Ok(text)
}

const MAX_LEN: u64 = 1024 * 1024;
