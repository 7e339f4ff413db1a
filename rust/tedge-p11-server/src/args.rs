//! The command line, as thin-edge.io's tedge-p11-server has it.

use std::ffi::OsString;

use log::LevelFilter;

/// Signs with the keys of a PKCS#11 token for clients on a UNIX socket.
///
/// A setting comes from its option, else from the environment, else from the table [device.cryptoki]
/// of tedge.toml. An empty value counts as unset.
#[derive(Debug, Default, clap::Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    /// UNIX socket to listen on; ignored if systemd passes a socket
    /// [env: TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH]
    /// [default: /run/tedge-p11-server/tedge-p11-server.sock]
    #[arg(long, value_name = "PATH", verbatim_doc_comment)]
    pub(crate) socket_path: Option<OsString>,

    /// PKCS#11 module to load [env: TEDGE_DEVICE_CRYPTOKI_MODULE_PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) module_path: Option<OsString>,

    /// User PIN of the token [env: TEDGE_DEVICE_CRYPTOKI_PIN]. Other users of this machine can see it on the
    /// command line; pin-source= in --uri reads it from a file instead
    #[arg(long, value_name = "PIN")]
    pub(crate) pin: Option<String>,

    /// PKCS#11 URI that confines clients: its attributes win over those of a request
    /// [env: TEDGE_DEVICE_CRYPTOKI_URI]
    #[arg(long, value_name = "URI", verbatim_doc_comment)]
    pub(crate) uri: Option<String>,

    /// Least important lines to log: off, error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<LevelFilter>,

    /// Folder of tedge.toml, and of the policy if this is given [env: TEDGE_CONFIG_DIR] [default: /etc/tedge]
    #[arg(long, value_name = "DIR")]
    pub(crate) config_dir: Option<OsString>,
}
