//! What tedge.toml says, if root or who runs this wrote it: another user's would lead root where he likes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tedge_file::MAX_SETTINGS;
use toml_edit::{DocumentMut, Item};

use crate::own_file;
use crate::try_connect::config_dir;

/// The file as it was when its owner was looked at; an empty one if there is none. Fails if it is another user's.
pub(super) fn read() -> anyhow::Result<DocumentMut> {
    let path = tedge_toml();
    let Some(content) = own_file::read(&path, MAX_SETTINGS)? else {
        return Ok(DocumentMut::new());
    };
    let text = std::str::from_utf8(&content).ok();
    // Not its own error, which shows the line: that may hold a PIN.
    let document = text.and_then(|text| text.parse().ok());
    document.with_context(|| format!("{} is not TOML", path.display()))
}

/// The text that is set there, in whichever form the tables have; none if it is empty.
pub(super) fn text(document: &DocumentMut, keys: &[&str]) -> Option<String> {
    let mut item = document.as_item();
    for key in keys {
        item = item.as_table_like()?.get(key)?;
    }
    let text = Item::as_str(item)?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// thin-edge.io's settings.
pub(super) fn tedge_toml() -> PathBuf {
    config_dir().join(Path::new("tedge.toml"))
}
