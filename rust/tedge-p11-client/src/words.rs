//! Text of others, for people.

use std::fmt::Debug;

/// The name of a variant as words: `NoKxGroupsInCommon` as `no kx groups in common`. For reasons that nobody
/// can act on, but may want to look up.
pub(crate) fn words(variant: &impl Debug) -> String {
    let name = format!("{variant:?}");
    let name = name.split(|c: char| !c.is_alphanumeric()).next();
    let mut text = String::new();
    let mut last = '\0';
    for c in name.unwrap_or_default().chars() {
        if c.is_uppercase() && last.is_lowercase() {
            text.push(' ');
        }
        text.extend(c.to_lowercase());
        last = c;
    }
    text
}

/// Without what a terminal could obey, and not long.
pub(crate) fn printable(text: &str) -> String {
    tedge_file::printable(&text.chars().take(MAX_SHOWN).collect::<String>())
}

/// Characters of what others wrote.
pub(crate) const MAX_SHOWN: usize = 200;
