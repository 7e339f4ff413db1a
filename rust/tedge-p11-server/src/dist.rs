//! The man page in dist/, made of the command line. `SNAPSHOTS=overwrite cargo test -p tedge-p11-server
//! dist` writes it anew.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use snapbox::{Assert, Data};

use crate::args::Args;

#[test]
fn the_man_page_is_that_of_the_command_line() {
    let mut page = Vec::new();
    let man = Man::new(Args::command()).section("8");
    man.render(&mut page).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/tedge-p11-server.8");
    Assert::new().action_env("SNAPSHOTS").eq(
        String::from_utf8(page).unwrap(),
        Data::read_from(&file, None).raw(),
    );
}
