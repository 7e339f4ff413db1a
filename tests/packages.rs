//! The client crate, and the crates that it needs, are as crates.io wants them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use support::{repository, succeed};

const CLIENT: &str = "tedge-p11-client";

#[test]
fn what_is_published_tells_what_it_is() {
    let mut cargo = cargo();
    let metadata = succeed(cargo.args(["metadata", "--no-deps", "--format-version", "1"]));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let package = |name: &str| {
        let mut packages = metadata["packages"].as_array().unwrap().iter();
        packages.find(|package| package["name"] == name).unwrap()
    };
    // The crates that come along, by their paths.
    let mut published = BTreeSet::new();
    let mut to_do = vec![CLIENT.to_owned()];
    while let Some(name) = to_do.pop() {
        let dependencies = package(&name)["dependencies"].as_array().unwrap();
        for dependency in dependencies {
            if dependency["path"].is_string() && dependency["kind"].is_null() {
                // A path is of no use to others, and any version would do for "*".
                assert_ne!(dependency["req"], "*", "{name}: {dependency}");
                to_do.push(dependency["name"].as_str().unwrap().to_owned());
            }
        }
        published.insert(name);
    }
    assert!(published.contains("tedge-p11-protocol"), "{published:?}");

    for name in &published {
        let package = package(name);
        for (field, most) in [("keywords", 5), ("categories", 5)] {
            let len = package[field].as_array().unwrap().len();
            assert!((1..=most).contains(&len), "{name}: {field}");
        }
        for field in ["description", "license", "readme", "rust_version"] {
            assert!(package[field].is_string(), "{name}: no {field}");
        }
        // `publish = false` is an empty list of registries. Without it, the way to the source must be told.
        let kept = package["publish"] == serde_json::json!([]);
        assert!(
            kept || package["repository"].is_string(),
            "{name}: no repository"
        );

        let listed = [
            "package",
            "--list",
            "--allow-dirty",
            "--quiet",
            "--package",
            name,
        ];
        let listed = succeed(self::cargo().args(listed));
        let files: BTreeSet<_> = listed.lines().collect();
        for file in ["Cargo.toml", "LICENSE", "README.md", "src/lib.rs"] {
            assert!(files.contains(file), "{name}: no {file} in {listed}");
        }
        let stray = files
            .iter()
            .find(|file| file.starts_with("dist/") || file.starts_with("target/"));
        assert_eq!(stray, None, "{name}");
    }
}

/// Two READMEs, one example.
#[test]
fn the_crate_has_the_rust_of_the_project() {
    let example = |file: &str, fence: &str| {
        let text = std::fs::read_to_string(repository().join(file)).unwrap();
        let (_, code) = text.split_once(fence).unwrap();
        code.split_once("\n```\n").unwrap().0.to_owned()
    };
    assert_eq!(
        example("rust/tedge-p11-client/README.md", "```rust,no_run\n"),
        example("README.md", "```rust\n")
    );
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository());
    cargo
}
