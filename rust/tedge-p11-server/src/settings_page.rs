//! Reads a man page of section 5, so that a test can compare it with what reads the file.

use std::collections::BTreeSet;

/// The settings that the page describes under the heading `section`.
pub(crate) fn described(page: &str, section: &str) -> BTreeSet<String> {
    let entries = text_of(page, section)
        .lines()
        .filter(|line| line.starts_with(r"\fB"));
    entries
        .flat_map(|line| line.split(", "))
        .map(|name| plain(name.trim_start_matches(r"\fB").trim_end_matches(r"\fR")))
        .collect()
}

/// The words that the page describes in lists within `section`: the values of a setting.
pub(crate) fn values(page: &str, section: &str) -> BTreeSet<String> {
    let lists = text_of(page, section).split("\n.RS\n").skip(1);
    lists
        .flat_map(|list| list.split("\n.RE").next().unwrap().split(".TP\n").skip(1))
        .flat_map(|entry| entry.lines().next().unwrap().split(", "))
        .map(plain)
        .collect()
}

/// The files in the page's section EXAMPLES.
pub(crate) fn examples(page: &str) -> Vec<String> {
    let blocks = text_of(page, "EXAMPLES").split(".nf\n").skip(1);
    blocks
        .map(|block| plain(block.split("\n.fi").next().unwrap()))
        .collect()
}

/// The names that serde's message about an unknown field says are known.
pub(crate) fn known(message: &str) -> BTreeSet<String> {
    let (_, known) = message
        .split_once("expected")
        .unwrap_or_else(|| panic!("{message}"));
    let names = known.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

fn text_of<'a>(page: &'a str, section: &str) -> &'a str {
    let quoted = format!(".SH \"{section}\"\n");
    let bare = format!(".SH {section}\n");
    let (_, rest) = page
        .split_once(&quoted)
        .or_else(|| page.split_once(&bare))
        .unwrap_or_else(|| panic!("no section {section}"));
    rest.split("\n.SH ").next().unwrap()
}

fn plain(text: &str) -> String {
    text.replace(r"\-", "-")
}
