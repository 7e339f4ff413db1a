//! The man page tedge-hsm-bridge.toml(5) describes the settings that there are.

use std::collections::BTreeSet;

use super::parse;
use crate::settings_page::{described, examples, known, values};

#[test]
fn the_page_describes_what_the_configuration_has() {
    let page = include_str!("../../../../dist/tedge-hsm-bridge/tedge-hsm-bridge.toml.5");
    for (section, table) in [
        ("THE LOCAL BROKER", "[local]"),
        ("HTTP PROXY", "[proxy]"),
        ("CLOUDS", "[cloud.name]"),
        ("RULES", "[[cloud.name.in]]"),
    ] {
        let known = known(&refused(&format!("{table}\nnonsense = 1")));
        assert_eq!(described(page, section), known, "{section}");
    }
    let tables = known(&refused("nonsense = 1"));
    assert_eq!(
        tables,
        ["cloud", "local", "proxy"].map(str::to_owned).into(),
        "a section for each"
    );
    let listed = refused("[cloud.name]\npreset = 'nonsense'");
    let listed: BTreeSet<_> = known(&listed);
    for preset in listed {
        assert!(page.contains(&preset.replace('-', r"\-")), "{preset}");
    }
    assert!(values(page, "CLOUDS").is_empty());
    let files = examples(page);
    assert!(files.len() > 1);
    for file in files {
        assert!(parse(&file).is_ok(), "{file}");
    }
}

fn refused(text: &str) -> String {
    match parse(text) {
        Err(mistake) => mistake.message,
        Ok(_) => panic!("{text} is taken"),
    }
}
