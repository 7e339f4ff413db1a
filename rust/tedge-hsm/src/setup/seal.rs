//! PINs on the disk: sealed by `systemd-creds` where there is one, else in files of root's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::rand::{GetRandomFlags, getrandom};
use tedge_p11_client::{Pin, hex};

use super::context::Setup;
use super::files::{make_folder, replace};
use super::lasting::NotLasting;
use super::systemd::filter;
use super::{drop_in, lasting};
use crate::pin_store::{ETC, PIN_STORES, PinStore, STATE};
use crate::root::Root;

/// A PIN that is kept for the time after this run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret {
    /// Of its file.
    pub(super) file: &'static str,
    /// Of the credential, which is sealed with it.
    pub(super) name: &'static str,
}

/// Where a PIN is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Sealed(PathBuf),
    Plain(PathBuf),
}

impl Kept {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Sealed(path) | Self::Plain(path) => path,
        }
    }
}

impl Secret {
    /// Where it is, if it is anywhere.
    pub(super) fn find(self, root: &Root) -> anyhow::Result<Option<Kept>> {
        let places = PIN_STORES.iter().flat_map(|store| {
            let path = |folder| root.path(folder).join(self.file);
            [
                Kept::Sealed(path(store.sealed)),
                Kept::Plain(path(store.plain)),
            ]
        });
        let mut there = places.filter(|kept| kept.path().exists());
        match (there.next(), there.next()) {
            (Some(first), Some(second)) => bail!(
                "there are {} and {}: remove the one that is not in use",
                first.path().display(),
                second.path().display()
            ),
            (kept, _) => Ok(kept),
        }
    }

    /// The PIN itself, from where it was found.
    pub(super) fn read(self, kept: &Kept) -> anyhow::Result<Pin> {
        match kept {
            Kept::Sealed(path) => {
                let sealed = tedge_file::read(path, MAX_SEALED)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let what = |error: &_| {
                    let why = cure(error, "if another TPM or machine has sealed it, remove it");
                    format!("{} can't be unsealed; {why}", path.display())
                };
                self.unseal(&sealed).map_err(|error| {
                    let what = what(&error);
                    error.context(what)
                })
            }
            Kept::Plain(path) => Ok(Pin::read_file(path)?),
        }
    }

    /// Keeps it, for good when this returns.
    pub(super) fn keep(self, setup: &Setup, pin: &Pin) -> anyhow::Result<Kept> {
        let root = &setup.root;
        let is_sealed = can_seal(setup);
        let store = store(root);
        let (folder, content) = if is_sealed {
            let sealed = self.seal(pin, sealing_key(store)).map_err(|error| {
                let why = cure(
                    &error,
                    "--no-seal keeps it in a file that root alone may read",
                );
                error.context(format!("the PIN can't be sealed; {why}"))
            })?;
            (store.sealed, sealed)
        } else {
            (store.plain, pin.expose().as_bytes().to_vec().into())
        };
        let folder = root.path(folder);
        make_folder(&folder, 0o700)?;
        let path = folder.join(self.file);
        replace(&path, &content, 0o600)?;
        Ok(if is_sealed {
            Kept::Sealed(path)
        } else {
            Kept::Plain(path)
        })
    }

    /// In a way that it can be unsealed again.
    fn seal(self, pin: &Pin, key: &str) -> anyhow::Result<zeroize::Zeroizing<Vec<u8>>> {
        // Not to PCR 7, as systemd does by itself: an update of UEFI's list of revoked signatures changes it, and
        // the device would be without its PIN. systemd 252 cannot unseal what is sealed to none; no firmware
        // changes 23.
        let to_none = self.seal_to(pin, key, "");
        to_none.or_else(|_| self.seal_to(pin, key, "23"))
    }

    fn seal_to(
        self,
        pin: &Pin,
        key: &str,
        pcrs: &str,
    ) -> anyhow::Result<zeroize::Zeroizing<Vec<u8>>> {
        let mut encrypt = Command::new("systemd-creds");
        encrypt.arg("encrypt");
        encrypt.arg(format!("--with-key={key}"));
        encrypt.arg(format!("--tpm2-pcrs={pcrs}"));
        encrypt
            .arg(format!("--name={}", self.name))
            .args(["-", "-"]);
        let sealed = filter(&mut encrypt, pin.expose().as_bytes())?;
        if self.unseal(&sealed)? != *pin {
            bail!("systemd-creds unseals another PIN than it has sealed");
        }
        Ok(sealed)
    }

    fn unseal(self, sealed: &[u8]) -> anyhow::Result<Pin> {
        let mut decrypt = Command::new("systemd-creds");
        decrypt.arg("decrypt");
        decrypt
            .arg(format!("--name={}", self.name))
            .args(["-", "-"]);
        let pin = filter(&mut decrypt, sealed)?;
        let text = std::str::from_utf8(&pin).context("it is no text")?;
        Ok(Pin::new(text.to_owned())?)
    }
}

/// What to do about an error of systemd-creds. A TPM that has locked itself is no reason to give up what it has sealed.
fn cure(error: &anyhow::Error, otherwise: &'static str) -> &'static str {
    // TPM2_RC_LOCKOUT, in the words of tpm2-tss and of systemd.
    if format!("{error:#}").contains("lockout") {
        "the TPM has locked itself, as after some sudden losses of power or wrong PINs: it opens by itself after a \
         while, or at once by tpm2_dictionarylockout -c"
    } else {
        otherwise
    }
}

/// Whether PINs are sealed here: not if it was declined, nor without systemd's program for it, which Debian 11 and
/// small images lack.
pub(super) fn can_seal(setup: &Setup) -> bool {
    setup.wanted.settings.seal
        && filter(Command::new("systemd-creds").arg("--version"), b"").is_ok()
}

/// Whether systemd unseals the signer's PIN.
pub(super) fn is_unsealed(root: &Root) -> bool {
    drop_in::linked(root, SEALED_PIN_DROP_IN).is_some()
}

/// Where a PIN is put: into systemd's own folder, but where that is read-only, or gone after a reboot.
fn store(root: &Root) -> PinStore {
    if lasting::is_kept(&root.path("/etc")) {
        ETC
    } else {
        STATE
    }
}

/// Fails if a PIN that is sealed here could not be unsealed after a reboot.
pub(super) fn check_seal_lasts(setup: &Setup) -> Result<(), NotLasting> {
    let is_bound_to_id = store(&setup.root) == STATE && can_seal(setup) && !has_tpm();
    if is_bound_to_id && !lasting::machine_id_is_kept(&setup.root) {
        return Err(NotLasting::MachineId);
    }
    Ok(())
}

/// With a TPM the seal is the TPM's, else a key of this machine's. Left to itself (`auto`) systemd takes the TPM
/// only where the firmware is UEFI. Where /etc is read-only, a newer root may come with another machine id, and systemd
/// would make its key of this machine anew: there it is the TPM's alone.
fn sealing_key(store: PinStore) -> &'static str {
    match (store == STATE, has_tpm()) {
        (false, true) => "host+tpm2",
        (false, false) => "auto",
        (true, true) => "tpm2",
        (true, false) => "host",
    }
}

/// Whether systemd can use a TPM here. `+system`: the kernel and this systemd have what it takes.
fn has_tpm() -> bool {
    let output = Command::new("systemd-creds").arg("has-tpm2").output();
    let says = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    says.is_ok_and(|says| says.contains("+driver") && says.contains("+system"))
}

/// `digits` hexadecimal digits, made at random.
pub(super) fn random_pin(digits: usize) -> anyhow::Result<Pin> {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    let filled = getrandom(&mut bytes[..], GetRandomFlags::empty()).context("no random numbers")?;
    if filled != bytes.len() || digits > 2 * bytes.len() {
        bail!("too few random numbers");
    }
    let mut text = hex(&bytes[..]);
    text.truncate(digits);
    Ok(Pin::new(text)?)
}

/// Where files are written.
pub(super) fn folders(setup: &Setup) -> impl Iterator<Item = PathBuf> {
    let folders = PIN_STORES
        .iter()
        .flat_map(|store| [store.sealed, store.plain]);
    folders.map(|folder| setup.root.path(folder))
}

/// Of a PIN, which has hundreds of bytes at most.
const MAX_SEALED: usize = 64 * 1024;
/// Of the signer's unit: with it, the PIN is one that systemd unseals.
pub(super) const SEALED_PIN_DROP_IN: &str = "sealed-pin.conf";

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    /// Whoever removes a PIN because of that has lost it.
    #[test]
    fn a_locked_tpm_is_no_other_tpm() {
        let locked = anyhow!(
            "tpm:warn(2.0): authorizations for objects subject to DA protection are not allowed at this time because \
             the TPM is in DA lockout mode"
        );
        assert!(cure(&locked, "remove it").contains("tpm2_dictionarylockout"));
        assert_eq!(
            cure(&anyhow!("integrity check failed"), "remove it"),
            "remove it"
        );
    }
}
