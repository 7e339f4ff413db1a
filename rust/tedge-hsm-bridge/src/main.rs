//! tedge-hsm-bridge: carries MQTT messages between the local broker and the cloud. The key of the TLS
//! client certificate stays in the HSM, behind tedge-p11-server.
//!
//! The way of a message: [`stream`] reads it, [`session`] finds it in the bytes, [`rule`] says where to,
//! [`lane`] holds it until the other broker has acknowledged it; [`bridge`] has one session with each
//! broker and moves what can be moved. [`connect`] makes the connections.

mod args;
mod backoff;
mod bridge;
mod configuration;
mod connect;
mod health;
mod lane;
mod preset;
mod profile;
mod rule;
mod service;
mod session;
mod side;
mod stream;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;

fn main() -> ExitCode {
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
    let configuration = configuration::load(&args.config)?;
    if args.check {
        return Ok(());
    }
    tedge_daemon::init(PROGRAM, args.log_level)?;
    service::run(configuration)
}

const PROGRAM: &str = "tedge-hsm-bridge";
