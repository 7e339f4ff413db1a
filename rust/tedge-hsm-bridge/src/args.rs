//! The command line.

use std::path::PathBuf;

use log::LevelFilter;

/// Carries MQTT messages between the local broker and the cloud, with the device's key in an HSM.
///
/// tedge-p11-server signs each TLS handshake with that key.
#[derive(Debug, clap::Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// Configuration: brokers, keys and rules
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/tedge/tedge-hsm-bridge.toml"
    )]
    pub(crate) config: PathBuf,

    /// Only check the configuration, and the files, keys and sockets that it names. Exit code: 0, all is good; 1, a
    /// mistake in the configuration; 3, something that it names is missing or can't be used
    #[arg(long)]
    pub(crate) check: bool,

    /// Least important lines to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::Info)]
    pub(crate) log_level: LevelFilter,
}
