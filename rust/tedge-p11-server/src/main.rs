//! tedge-p11-server: owns a PKCS#11 module and signs with its keys for clients on a UNIX socket.
//! A drop-in for thin-edge.io's service of that name.
//!
//! The way of a request: [`listener`] accepts it, [`connection`] reads and answers it, [`service`]
//! turns the frame into a call on the module.

mod args;
mod connection;
mod listener;
mod logging;
mod process;
mod server;
mod service;
mod settings;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tedge_p11_token::Module;

use crate::args::Args;
use crate::listener::Listener;
use crate::service::Service;
use crate::settings::Settings;

fn main() -> ExitCode {
    process::protect_secrets();
    process::abort_on_panic();
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln!, which panics when stderr is closed.
            let _ = writeln!(std::io::stderr(), "tedge-p11-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(args, |name| std::env::var(name).ok())?;
    logging::init(settings.log_level)?;
    let module = Module::load(&settings.module_path)?;
    let listener = Listener::open(&settings.socket_path)
        .with_context(|| format!("cannot listen on {}", settings.socket_path.display()))?;
    log::info!("using {}", settings.module_path.display());
    server::run(listener, Service::new(module, settings.uri, settings.pin))
}
