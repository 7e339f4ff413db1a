//! A record of what is under way, in a file beside a certificate: JSON, which root or the user of this process wrote.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tedge_file::Attributes;

use crate::own_file;

/// The record in `path`, if there is one. It must belong to root or to the user of this process, and be closed to other
/// writers: who goes on with it does what it says. `what` it is a record of, and what to do if it is damaged.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<Option<T>> {
    let cure = "run this as that user, or remove the file";
    let Some(content) = own_file::read_or(path, MAX_LEN, cure)? else {
        return Ok(None);
    };
    serde_json::from_slice(&content)
        .with_context(|| format!("{} is no record of {what}", path.display()))
        .map(Some)
}

/// The same for who only wants to know, whoever wrote it; none if it can't be read.
pub(crate) fn look<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let content = tedge_file::read(path, MAX_LEN).ok()?;
    serde_json::from_slice(&content).ok()
}

/// Writes it, with the mode `mode`; it is on the disk when this returns.
pub(crate) fn write(path: &Path, record: &impl Serialize, mode: u32) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(record)? + "\n";
    if text.len() > MAX_LEN {
        bail!(
            "{} would have more than {MAX_LEN} bytes: the server's answer is too long",
            path.display()
        );
    }
    let attributes = Attributes::Set { mode, owner: None };
    tedge_file::write(path, text.as_bytes(), attributes)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Far more than URIs, a request and an error have.
const MAX_LEN: usize = 65_536;
