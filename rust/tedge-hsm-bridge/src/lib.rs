//! Carries MQTT messages between the local broker and the cloud. The key of the TLS client certificate stays in
//! the HSM, behind tedge-p11-server.
//!
//! The way of a message: [`stream`] reads its bytes, [`packet`] finds it in them for the [`session`], [`rule`] says
//! where to, [`forward_queue`] holds it until the other broker has acknowledged it; [`bridge`] has one session with
//! each broker and moves what can be moved. [`connect`] makes the connections.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod args;
mod bridge;
mod broker_role;
mod check;
mod configuration;
mod connect;
mod credentials;
#[cfg(test)]
mod dist;
mod drops;
mod error;
mod forward_queue;
mod handshake;
mod health;
mod identity;
#[cfg(test)]
#[path = "../../tedge-hsm/src/man_page.rs"]
mod man_page;
pub mod packet;
mod preset;
mod profile;
mod reconnect_pause;
mod rule;
mod service;
mod session;
#[cfg(test)]
#[path = "../../tedge-p11-server/src/settings_page.rs"]
mod settings_page;
mod side;
mod stream;
mod tls;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use tedge_p11_client::forbid_core_dumps;
use tedge_p11_config::{DEFAULT_CONFIG_DIR, ROOT_DIR, shadowed_by};

pub use crate::args::Args;
use crate::profile::Configuration;

/// Does what the command line says: carries messages until SIGTERM or SIGINT, or looks at the configuration.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // The password of a cloud is in this process.
    forbid_core_dumps();
    let (config, config_dir) = args.config();
    let (configuration, trouble) = configuration::load(&config, &config_dir)?;
    if args.check {
        return Ok(look(&config, &configuration, trouble));
    }
    tedge_daemon::init(PROGRAM, args.log_level)?;
    if let Some(other) = shadowed_by(&config, ROOT_DIR.as_ref(), DEFAULT_CONFIG_DIR.as_ref()) {
        log::warn!(
            "{} is not read, as {} goes before it",
            other.display(),
            config.display()
        );
    }
    if let Some(trouble) = trouble {
        log::warn!("no proxy is taken from tedge.toml: {trouble}");
    }
    service::run(configuration)?;
    Ok(ExitCode::SUCCESS)
}

fn look(path: &Path, configuration: &Configuration, trouble: Option<String>) -> ExitCode {
    let mut findings = check::check(path, configuration);
    let trouble = trouble.map(|trouble| format!("no proxy is taken from tedge.toml: {trouble}"));
    findings.failures.extend(trouble);
    for warning in &findings.warnings {
        tedge_daemon::end(PROGRAM, &format!("warning: {warning}"));
    }
    for failure in &findings.failures {
        tedge_daemon::end(PROGRAM, failure);
    }
    if !findings.failures.is_empty() {
        return ExitCode::from(NOT_THERE);
    }
    // A pipe that is closed is nobody who would like to know.
    let _ = writeln!(io::stdout(), "ok: {}", check::summary(configuration));
    ExitCode::SUCCESS
}

/// The exit code of `--check` when the configuration is good, and something that it names is not there or can't be
/// used. A configuration that is none ends with 1.
const NOT_THERE: u8 = 3;

/// The name of the program, in what it logs.
pub const PROGRAM: &str = "tedge-hsm-bridge";
