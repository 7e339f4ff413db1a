//! tedge-hsm-bridge: the program around the library of the same name.

use std::process::ExitCode;

use clap::Parser as _;
use tedge_hsm_bridge::{Args, PROGRAM};

fn main() -> ExitCode {
    match tedge_hsm_bridge::run(&Args::parse()) {
        Ok(code) => {
            log::logger().flush();
            code
        }
        Err(error) => {
            tedge_daemon::end(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
