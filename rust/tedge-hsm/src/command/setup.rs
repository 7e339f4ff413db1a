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
Set a device up: from a blank HSM to a request for a certificate, in one go

As root. One step after the other is looked at and, if it is not done yet, done: users and groups, the drop-in of
the HSM for the signer's unit, the module's name in /etc/tedge/tedge.toml, the signer enabled and started, the user
PIN, the token, the key, and a request for a certificate (or a self-signed one). What is there already stays as it
is, so that a run that failed or was cut off is finished by the next. Each step has a line on standard error; the
key's URI is printed in the end.

The PIN is made at random and sealed by systemd-creds, with the TPM where there is one; without systemd-creds it is
in /etc/credstore, for root alone. The security officer's PIN is kept beside it, unless --so-pin-file gives one. A
token that a vendor's tool initialises (see `hsms`) has its PIN already: --pin-file gives it, or it is asked for.",
    after_help = "\
Examples:
  tedge-hsm setup --hsm tpm2 --dry-run
  tedge-hsm setup --hsm tpm2 --common-name device-1 --output device.csr
  tedge-hsm setup --hsm yubikey-piv --pin-file pin
  tedge-hsm setup --hsm tpm2 --root /srv/image"
)]
pub(crate) struct Args {
    /// Show what there is to do, and do nothing
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

    /// Common name of the certificate's subject, where %m is the machine's id [default: %m]
    #[arg(long, value_name = "NAME")]
    common_name: Option<String>,

    /// What the key signs [default: csr]
    #[arg(long, value_name = "KIND")]
    certificate: Option<Certificate>,

    /// File for the request or the certificate; /var/lib/tedge-hsm/device.csr or device.pem without
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// File with the security officer's PIN; one is made and kept without
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,

    /// Keep the PINs in files that root alone may read, even where they could be sealed
    #[arg(long)]
    no_seal: bool,

    /// File with TOKEN=, KEY=, KEY_TYPE=, COMMON_NAME=, CERTIFICATE= and SEAL=, which options outdo
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Prepare the image in this folder: users, drop-in, tedge.toml, the signer enabled; the rest is done on the
    /// device
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "so_pin_file", "no_seal"])]
    root: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(place: Place, args: Args) -> anyhow::Result<()> {
    if args.root.is_none() && !rustix::process::geteuid().is_root() {
        bail!("this takes root: it writes to /etc and starts the signer");
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
