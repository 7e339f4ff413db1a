//! The command line.

use std::path::{Path, PathBuf};

use log::LevelFilter;
use tedge_p11_config::{DEFAULT_CONFIG_DIR, ROOT_DIR, bridge_path};

/// Carries MQTT messages between the local broker and the cloud, with the device's key in an HSM.
///
/// tedge-p11-server signs each TLS handshake with that key.
#[derive(Debug, clap::Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// Configuration: brokers, keys and rules [default: /etc/tedge-hsm/tedge-hsm-bridge.toml, or the one in /etc/tedge if
    /// only that is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Only check the configuration, and the files, keys and sockets that it names. Exit code: 0, all is good; 1, a
    /// mistake in the configuration; 3, something that it names is missing or can't be used
    #[arg(long)]
    pub(crate) check: bool,

    /// Least important lines to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::Info)]
    pub(crate) log_level: LevelFilter,
}

impl Args {
    /// The file with the configuration, and the folder of the tedge.toml that goes with it: the same, if one is given.
    pub(crate) fn config(&self) -> (PathBuf, PathBuf) {
        let default = Path::new(DEFAULT_CONFIG_DIR);
        match &self.config {
            Some(path) => (path.clone(), path.parent().unwrap_or(default).to_owned()),
            None => (bridge_path(ROOT_DIR.as_ref(), default), default.to_owned()),
        }
    }
}
