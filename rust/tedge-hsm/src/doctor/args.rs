//! What can be told to `doctor` on the command line.

use std::path::PathBuf;

use tedge_p11_client::Uri;

use crate::uri_parser::UriParser;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Log in to the token with the PIN and try its keys straight on the module; this may cost one try of
    /// the PIN, and is not done when the token says that one try is left
    #[arg(long)]
    pub(crate) login: bool,

    /// Print a JSON array of the findings
    #[arg(long)]
    pub(crate) json: bool,

    /// URI of the key, or of its token; all keys without
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,

    /// PEM file with the certificate chain of the key; without it, the one in tedge.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// PEM file, or folder of them, with the certificates that the broker's is verified with; without it,
    /// root_cert_path in tedge.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Host name or address of the broker; those in tedge.toml without
    #[arg(long)]
    pub(crate) host: Option<String>,

    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    pub(crate) port: u16,

    /// Folder of tedge.toml
    #[arg(long, value_name = "DIR", env = "TEDGE_CONFIG_DIR")]
    pub(crate) config_dir: Option<PathBuf>,

    /// Seconds that each step may take
    #[arg(
        long, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub(crate) timeout: u64,

    /// Look for /dev, /sys, /etc, /run, /proc and /usr/lib in this folder: for tests
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) root: Option<PathBuf>,
}
