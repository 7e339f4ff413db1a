//! tedge-hsm: takes a blank HSM to a device that connects with the key in it.

mod args;
mod command;
mod doctor;
mod hsm;
mod logging;
mod mqtt;
mod pins;
mod profile;
mod root;
mod store;
mod tls;
mod trial;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;

fn main() -> ExitCode {
    logging::init();
    match command::run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = match error.downcast_ref() {
                Some(tedge_p11_token::Error::PinNeeded(_)) => {
                    "; give --pin-file or TEDGE_DEVICE_CRYPTOKI_PIN"
                }
                _ => "",
            };
            // Not eprintln!, which panics when stderr is closed.
            let _ = writeln!(std::io::stderr(), "tedge-hsm: {error:#}{hint}");
            ExitCode::FAILURE
        }
    }
}
