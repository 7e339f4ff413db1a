//! Where what was made goes: to a file that all may read, or to standard output.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tedge_file::{Attributes, FileError};

/// Writes `text` to a file that all may read (0644), or to standard output without one.
pub(crate) fn write_or_print(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match path {
        Some(path) => write(path, text.as_bytes()),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

/// Writes a file that all may read (0644); one that is there keeps its owner, group and mode.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    failed(
        path,
        tedge_file::write(path, content, Attributes::Keep { mode: 0o644 }),
    )
}

/// Fails if [`write`] could not write there: for what is dear to make and would be lost.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    failed(path, tedge_file::check_writable(path))
}

fn failed(path: &Path, result: Result<(), FileError>) -> anyhow::Result<()> {
    result.with_context(|| format!("cannot write {}", path.display()))
}
