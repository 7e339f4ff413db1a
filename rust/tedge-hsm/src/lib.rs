//! tedge-hsm: takes a blank HSM to a device that connects with the key in it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod args;
mod brokers;
mod bundle;
mod certificate;
mod command;
mod cumulocity;
mod dispatch;
#[cfg(test)]
mod dist;
mod doctor;
mod document;
mod enroll;
mod est;
mod est_answer;
mod file;
mod fingerprint;
mod hsm;
mod http;
mod identity;
mod issued;
mod key_type;
mod keys;
mod logging;
mod machine_id;
#[cfg(test)]
mod man_page;
mod metrics;
mod mqtt;
mod names;
mod new_key;
mod output;
mod own_file;
mod percent;
mod pin_state;
mod pin_store;
mod pins;
mod pkcs7;
mod place;
mod post_quantum;
mod profile;
mod progress;
mod prompt;
mod proxy;
mod record_file;
mod refused;
mod renewal;
pub mod renewal_plan;
mod renewal_record;
mod renewal_schedule;
mod root;
mod rotation;
mod settings_file;
mod setup;
mod shell;
mod store;
mod tenant;
mod timed_stream;
mod tls;
mod tls_unverified;
mod toml_table;
mod trial;
mod trust;
mod try_connect;
mod uri_parser;
mod user_pin;
mod verification;

use std::process::ExitCode;

use clap::Parser as _;
use tedge_p11_client::{TlsFailure, forbid_core_dumps};

use crate::args::Args;

// What reads the bytes of others, for fuzz/.
pub use cumulocity::token_of as cumulocity_token;
pub use enroll::aws::texts as aws_texts;
pub use enroll::azure::texts as azure_texts;
pub use enroll::csr_attributes_texts;
pub use est_answer::{
    attributes as est_attributes, certificates as est_certificates, retry_after, said,
};
pub use http::{Answer, Header, answer as http_answer};
pub use pkcs7::certificates as pkcs7_certificates;

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
            if error.is::<output::AlreadyTold>() {
                return ExitCode::FAILURE;
            }
            let hint = hint(&error).map(|hint| format!("; {hint}"));
            let hint = hint.unwrap_or_default();
            output::note(format_args!("tedge-hsm: {error:#}{hint}"));
            if error.is::<setup::NotLasting>() || error.is::<refused::GivenUp>() {
                return ExitCode::from(EX_CONFIG);
            }
            ExitCode::FAILURE
        }
    }
}

/// sysexits.h. The units of the first boot and of the enrolment do not try again then.
const EX_CONFIG: u8 = 78;

/// What the person can do about it, where the error's own words don't say.
fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(tedge_p11_token::Error::PinNeeded(_)) = error.downcast_ref() {
        return Some("give --pin-file or TEDGE_DEVICE_CRYPTOKI_PIN".to_owned());
    }
    if let Some(tedge_p11_client::Error::Connect { path, error }) = error.downcast_ref() {
        // Elsewhere than by default it is somebody's own signer.
        if error.kind() == std::io::ErrorKind::NotFound
            && path == std::path::Path::new(tedge_p11_client::DEFAULT_SOCKET_PATH)
        {
            return Some(
                "tedge-hsm setup sets up a new device; tedge-hsm doctor finds what is wrong with one that was set up"
                    .to_owned(),
            );
        }
    }
    let proxy = error.chain().find_map(|cause| cause.downcast_ref());
    if let Some(cure) = proxy.map(tedge_proxy::ProxyError::cure) {
        return Some(cure.to_owned());
    }
    let tls = error.chain().find_map(|cause| cause.downcast_ref());
    tls.and_then(|tls: &TlsFailure| tls.cure.clone())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
