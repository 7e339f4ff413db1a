//! Takes the Rust out of the project's README, for `src/bin/readme.rs`.

use std::path::Path;
use std::{env, fs};

fn main() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../README.md");
    println!("cargo:rerun-if-changed={}", readme.display());
    let text = fs::read_to_string(readme).expect("the README");
    let (_, code) = text.split_once("```rust\n").expect("Rust in the README");
    let (code, _) = code.split_once("\n```\n").expect("its end");
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("readme.rs"), code).expect("a file in OUT_DIR");
}
