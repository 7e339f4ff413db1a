//! `setup`: a device from a blank HSM to a request for a certificate.

use std::path::PathBuf;

use anyhow::bail;
use rustix::fs::Mode;
use rustix::process::umask;

use crate::key_type::KeyType;
use crate::output::say;
use crate::place::Place;
use crate::profile::{PROFILES, Profile};
use crate::root::Root;
use crate::setup::{self, Certificate, Settings, Setup, Wanted};
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Set up a device: from a blank HSM to a certificate request, in one command

Run it as root. It checks these steps in order, and does those that are not done yet: users and groups, the drop-in of
the HSM for the signer's unit, the module in /etc/tedge/tedge.toml, the signer enabled and started, the user PIN, the
token, the key, and a certificate request (or a self-signed certificate). What exists already stays as it is, so the
next run finishes one that failed or was interrupted. Each step prints a line on standard error. The key's URI is
printed at the end.

The user PIN is random. systemd-creds seals it, with the TPM if there is one. Without systemd-creds it is in
/etc/credstore, and only root may read it. The SO PIN is stored beside it, unless --so-pin-file gives one. A token that
a vendor's tool initialises (see `hsms`) already has its PIN: give it with --pin-file, or at the terminal.",
    after_help = "\
Examples:
  tedge-hsm setup --hsm tpm2 --dry-run
  tedge-hsm setup --hsm tpm2 --common-name device-1 --output device.csr
  tedge-hsm setup --hsm yubikey-piv --pin-file pin
  tedge-hsm setup --hsm tpm2 --root /srv/image"
)]
pub(crate) struct Args {
    /// Show the steps, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Label of the token, 1 to 32 bytes [default: device]
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,

    /// Label of the key [default: tls]
    #[arg(long, value_name = "LABEL")]
    key: Option<String>,

    /// Type of the key [default: p256]
    #[arg(long, value_name = "TYPE")]
    key_type: Option<KeyType>,

    /// Common name of the certificate's subject; %m stands for the machine id [default: %m]
    #[arg(long, value_name = "NAME")]
    common_name: Option<String>,

    /// What the key signs [default: csr]
    #[arg(long, value_name = "KIND")]
    certificate: Option<Certificate>,

    /// File for the request or the certificate [default: /var/lib/tedge-hsm/device.csr or device.pem]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// File with the SO PIN [default: a random one, which is kept beside the user PIN]
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,

    /// Store the PINs in files that only root may read, even if they could be sealed
    #[arg(long)]
    no_seal: bool,

    /// File with TOKEN=, KEY=, KEY_TYPE=, COMMON_NAME=, CERTIFICATE= and SEAL=; options take precedence
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Prepare the image in this folder: users, drop-in, tedge.toml, the enabled signer. The rest is done on
    /// the device
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "so_pin_file", "no_seal"])]
    root: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(place: Place, args: Args) -> anyhow::Result<()> {
    if args.root.is_none() && !rustix::process::geteuid().is_root() {
        bail!("run this as root: it writes to /etc and starts the signer");
    }
    // What is made is for others to read, but where it says otherwise.
    umask(Mode::from_raw_mode(0o022));
    let mut settings = match &args.settings {
        Some(file) => Settings::read(file)?,
        None => Settings::default(),
    };
    override_by(&mut settings.token, args.token);
    override_by(&mut settings.key, args.key);
    override_by(&mut settings.key_type, args.key_type);
    if args.common_name.is_some() {
        settings.common_name = args.common_name;
    }
    override_by(&mut settings.certificate, args.certificate);
    settings.seal &= !args.no_seal;
    if let Some(dir) = args.root.as_deref().filter(|dir| !dir.is_dir()) {
        bail!("--root: there is no folder {}", dir.display());
    }
    let root = args.root.as_deref().map(Root::new).unwrap_or_default();
    if place.hsm.is_none() && args.settings.is_none() {
        bail!("which HSM? give --hsm: {}", known(&root));
    }
    let wanted = Wanted {
        settings,
        output: args.output,
        so_pin_file: args.so_pin_file,
    };
    let setup = Setup::new(place, root, wanted)?;
    if args.dry_run {
        return setup::plan(&setup);
    }
    match setup::run(&setup)? {
        Some(uri) => Ok(say(uri)?),
        None => Ok(()),
    }
}

fn override_by<T>(setting: &mut T, option: Option<T>) {
    if let Some(option) = option {
        *setting = option;
    }
}

/// The kinds of HSM, and which are here.
fn known(root: &Root) -> String {
    let describe = |profile: &Profile| match profile.seen(root) {
        Some(_) => format!("{} (is here)", profile.name),
        None => profile.name.to_owned(),
    };
    let names: Vec<_> = PROFILES.iter().map(describe).collect();
    names.join(", ")
}
