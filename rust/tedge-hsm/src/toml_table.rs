//! Tables of a TOML file that is edited in place.

use anyhow::Context as _;
use toml_edit::{Item, Table, TableLike};

/// The table of that name, in whichever form it is there.
pub(crate) fn table<'a>(
    parent: &'a mut dyn TableLike,
    name: &str,
) -> anyhow::Result<&'a mut dyn TableLike> {
    let item = parent.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        // `[device.cryptoki]` says it all.
        table.set_implicit(true);
        Item::Table(table)
    });
    item.as_table_like_mut()
        .with_context(|| format!("{name} is no table"))
}
