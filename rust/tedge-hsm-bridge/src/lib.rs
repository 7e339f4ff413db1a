//! Carries MQTT messages between the local broker and the cloud. The key of the TLS client certificate stays in
//! the HSM, behind tedge-p11-server.
//!
//! The way of a message: [`stream`] reads its bytes, [`packet`] finds it in them for the [`session`], [`rule`] says
//! where to, [`forward_queue`] holds it until the other broker has acknowledged it; [`bridge`] has one session with
//! each broker and moves what can be moved. [`connect`] makes the connections.

mod args;
mod bridge;
mod broker_role;
mod configuration;
mod connect;
mod credentials;
mod drops;
mod error;
mod forward_queue;
mod health;
pub mod packet;
mod preset;
mod profile;
mod reconnect_pause;
mod rule;
mod service;
mod session;
mod side;
mod stream;
mod tls;

pub use crate::args::Args;

/// Does what the command line says: carries messages until SIGTERM or SIGINT.
pub fn run(args: &Args) -> anyhow::Result<()> {
    // Passwords, and a PIN where the URI of a key has one, are in its memory.
    tedge_p11_client::forbid_core_dumps();
    let configuration = configuration::load(&args.config)?;
    if args.check {
        return Ok(());
    }
    tedge_daemon::init(PROGRAM, args.log_level)?;
    service::run(configuration)
}

/// The name of the program, in what it logs.
pub const PROGRAM: &str = "tedge-hsm-bridge";
