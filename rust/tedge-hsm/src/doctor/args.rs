//! What can be told to `doctor` on the command line.

use std::path::PathBuf;

use tedge_p11_client::Uri;

use crate::proxy;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What --json prints is in docs/json.md.

Examples:
  tedge-hsm doctor
  tedge-hsm doctor --hsm tpm2 --cert device.pem --ca ca.pem --host BROKER
  tedge-hsm doctor --hsm tpm2 --login --pin-file PIN --uri pkcs11:token=device
  tedge-hsm doctor --bundle report.tar
  tedge-hsm doctor --json | jq '.[] | select(.state == \"failure\")'")]
pub(crate) struct Args {
    /// Log in to the token with the PIN and try its keys directly on the module. This may cost one try of
    /// the PIN; it is skipped if the token says that only one try is left
    #[arg(long)]
    pub(crate) login: bool,

    /// Print a JSON array of the findings
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a tar file for a bug report: findings, versions, settings, tokens and keys, and a day's log. Secrets are taken out,
    /// and what names the device, people or brokers has stand-ins. It prints what is in the file, which only you can read
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) bundle: Option<PathBuf>,

    /// URI of the key, or of its token [default: all keys]
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,

    /// PEM or DER file with the key's certificate, in PEM with its chain [default: the one in tedge.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// PEM or DER file, or folder of PEM files, with the CA certificates that verify the broker's
    /// [default: root_cert_path in tedge.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Host name or address of the broker [default: those in tedge.toml]
    #[arg(long)]
    pub(crate) host: Option<String>,

    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    pub(crate) port: u16,

    /// Folder of tedge.toml
    #[arg(long, value_name = "DIR", env = "TEDGE_CONFIG_DIR")]
    pub(crate) config_dir: Option<PathBuf>,

    /// Time limit for each step, in seconds
    #[arg(
        long, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub(crate) timeout: u64,

    /// Look for /dev, /sys, /etc, /run, /proc and /usr/lib in this folder: for tests
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) root: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) proxy: proxy::Args,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}
