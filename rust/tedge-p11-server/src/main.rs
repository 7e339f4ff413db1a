//! tedge-p11-server: owns a PKCS#11 module and signs with its keys for clients on a UNIX socket.
//! A drop-in for thin-edge.io's service of that name.
//!
//! The way of a request: in [`front`], a thread of `acceptors` accepts the client, asks `peer` who it is, and
//! reads the request (`connection` does so where that takes longer). In [`queue`], `limits` has a place for the
//! connection and `calls` a turn on the token. In [`service`], `handler` makes the calls on the module, within
//! policy and [`configuration`]. [`server`] starts all this and ends it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod args;
mod configuration;
#[cfg(test)]
mod dist;
mod front;
#[cfg(test)]
#[path = "../../tedge-hsm/src/man_page.rs"]
mod man_page;
mod process;
mod queue;
mod server;
mod service;
mod settings;
#[cfg(test)]
mod settings_page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tedge_p11_config::{
    DEFAULT_CONFIG_DIR, Policy, PolicyError, ROOT_DIR, load_policy, shadowed_by,
};
use tedge_p11_protocol::forbid_core_dumps;
use tedge_p11_token::Module;

use crate::args::Args;
use crate::configuration::Configuration;
use crate::front::listener::Listener;
use crate::service::Service;
use crate::settings::Settings;

fn main() -> ExitCode {
    forbid_core_dumps();
    process::abort_on_panic();
    match run(&Args::parse()) {
        Ok(()) => {
            log::logger().flush();
            ExitCode::SUCCESS
        }
        Err(error) => {
            tedge_daemon::end(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let settings = Settings::load(args, env)?;
    tedge_daemon::init(PROGRAM, settings.log_level)?;
    let policy = read_policy(&settings)?;
    let module = Module::load(&settings.module_path)?;
    if let Some(dir) = state_directory() {
        module.keep_wrong_pins(&dir.join("refused-pins"));
    }
    let listener = Listener::open(&settings.socket_path)
        .with_context(|| format!("cannot listen on {}", settings.socket_path.display()))?;
    log::info!("using {}", settings.module_path.display());
    let module_path = settings.module_path.clone();
    let service = Service::new(module, module_path, configuration(settings, policy));
    server::run(listener, service, || {
        let settings = Settings::load(args, env)?;
        let policy = read_policy(&settings)?;
        Ok(configuration(settings, policy))
    })
}

fn read_policy(settings: &Settings) -> Result<Policy, PolicyError> {
    let path = &settings.policy_path;
    if let Some(other) = shadowed_by(path, ROOT_DIR.as_ref(), DEFAULT_CONFIG_DIR.as_ref()) {
        log::warn!(
            "{} is not read, as {} goes before it",
            other.display(),
            path.display()
        );
    }
    load_policy(&settings.policy_path, nix::unistd::geteuid().as_raw())
}

fn configuration(settings: Settings, policy: Policy) -> Configuration {
    Configuration::new(settings.uri, settings.pin, policy).with_certificate(settings.certificate)
}

/// Where systemd lets the service keep what is to outlive it (StateDirectory=), the first folder of several.
fn state_directory() -> Option<PathBuf> {
    let dirs = env("STATE_DIRECTORY")?;
    let dir = Path::new(dirs.split(':').next()?);
    dir.is_absolute().then(|| dir.to_owned())
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

const PROGRAM: &str = "tedge-p11-server";
