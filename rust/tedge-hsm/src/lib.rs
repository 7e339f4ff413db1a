//! tedge-hsm: takes a blank HSM to a device that connects with the key in it.

mod args;
mod certificate;
mod command;
mod dispatch;
#[cfg(test)]
mod dist;
mod doctor;
mod document;
mod est;
mod file;
mod hsm;
mod http;
mod key_type;
mod logging;
mod mqtt;
mod names;
mod new_key;
mod output;
mod pins;
mod pkcs7;
mod place;
mod profile;
mod progress;
mod prompt;
mod root;
mod settings_file;
mod setup;
mod store;
mod timed_stream;
mod tls;
mod trial;
mod trust;
mod uri_parser;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tedge_p11_client::forbid_core_dumps;

use crate::args::Args;

/// The program `tedge-hsm`: does what its arguments ask for.
#[must_use]
pub fn main() -> ExitCode {
    // PINs are in its memory.
    forbid_core_dumps();
    logging::init();
    match dispatch::run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Who read standard output has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
