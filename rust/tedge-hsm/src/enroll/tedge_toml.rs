//! tedge.toml: where thin-edge.io, and our own renewal and doctor, look for the cloud's host.

use std::path::Path;

use anyhow::Context as _;
use tedge_file::{Edited, MAX_SETTINGS};
use toml_edit::{DocumentMut, Item, value};

use super::cloud::Connection;
use crate::output::note;
use crate::toml_table::table;

/// Sets the cloud's `url`, unless it is set, or this user may not write the file: then a line says what to set.
pub(super) fn write(path: &Path, connection: &Connection) -> anyhow::Result<()> {
    let Some(name) = connection.tedge_toml_table else {
        return Ok(());
    };
    let file = Edited::read(path, MAX_SETTINGS)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let document: Option<DocumentMut> = file.text().parse().ok();
    // Not its own error, which shows the line: that may hold a PIN.
    let mut document = document.with_context(|| format!("{} is not TOML", path.display()))?;
    let cloud = table(document.as_table_mut(), name)?;
    let is_set = |item: &Item| item.as_str().is_none_or(|text| !text.is_empty());
    if cloud.get("url").is_some_and(is_set) {
        return Ok(());
    }
    let url = connection.tedge_toml_url.as_ref();
    let url = url.unwrap_or(&connection.host);
    cloud.insert("url", value(url));
    if let Err(error) = file.replace(&document.to_string(), 0o644) {
        note(format_args!(
            "cannot write {}: {error}; for thin-edge.io and tedge-hsm doctor set {name}.url = {url:?} there",
            path.display()
        ));
    }
    Ok(())
}
