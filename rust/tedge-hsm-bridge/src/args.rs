//! The command line.

use std::path::PathBuf;

use log::LevelFilter;

/// Carries MQTT messages between the local broker and the cloud; the key of the TLS client certificate
/// stays in the HSM, behind tedge-p11-server.
#[derive(Debug, clap::Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// Brokers, keys and rules
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/tedge/tedge-hsm-bridge.toml"
    )]
    pub(crate) config: PathBuf,

    /// Only look: at the configuration, at the files, keys and sockets that it names. Exit code 0 if all is good, 1 if
    /// the configuration is not, 3 if something that it names is not there or can't be used
    #[arg(long)]
    pub(crate) check: bool,

    /// off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::Info)]
    pub(crate) log_level: LevelFilter,
}
