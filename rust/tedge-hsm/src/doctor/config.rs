//! The signer's files: tedge.toml, the policy, and those with PINs.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::getegid;
use tedge_p11_client::{PinSource, Uri};

use super::context::Context;
use super::report::{Area, Report};
use crate::pin_store::{PIN_STORES, PinStore, SEALED_PIN_LINK, SIGNER_PIN, STATE, TMPFILES};
use crate::settings_file::{Moved, SETTINGS_FOLDER, is_own};
use crate::shell::quoted;

pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    check_tedge_toml(context, report);
    check_pin_files(context, report);
    check_settings(context, report);
}

/// Those of our units, in root's own folder.
fn check_settings(context: &Context<'_>, report: &mut Report) {
    for moved in Moved::left_behind(&context.root) {
        report.failure(Area::Config, moved.what(), moved.cure());
    }
    let folder = context.root.path(SETTINGS_FOLDER);
    let Ok(found) = folder.symlink_metadata() else {
        return;
    };
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        report.failure(
            Area::Config,
            format!(
                "{SETTINGS_FOLDER} ({}) may be written by users other than root, and root reads settings there",
                context.root.permissions(&found)
            ),
            format!("chown root:root and chmod 755 {SETTINGS_FOLDER}, and check the files in it"),
        );
    }
}

fn check_tedge_toml(context: &Context<'_>, report: &mut Report) {
    let path = context.config_dir.join("tedge.toml");
    let shown = path.display();
    let file = match std::fs::metadata(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return report.skipped(
                Area::Config,
                format!("there is no {shown}, which tedge-hsm setup writes: options and the environment name the module"),
            );
        }
        Err(error) => {
            return report.failure(Area::Config, format!("{shown}: {error}"), "chmod 644 it");
        }
    };
    let cryptoki = match &context.cryptoki {
        Ok(cryptoki) => cryptoki,
        Err(error) => {
            return report.failure(Area::Config, error.to_string(), "correct it in an editor");
        }
    };
    let permissions = context.root.permissions(&file);
    if file.mode() & 0o002 != 0 {
        return report.failure(
            Area::Config,
            format!(
                "{shown} ({permissions}) may be written by every user, and it names the module"
            ),
            format!("chmod o-w {}", quoted(shown)),
        );
    }
    if let Some(uri) = cryptoki.uri.as_deref().filter(|uri| !uri.is_empty()) {
        if let Err(error) = uri.parse::<Uri>() {
            return report.failure(
                Area::Config,
                format!("{shown}, device.cryptoki.uri: {error}"),
                "take the URI that tedge-hsm list-tokens prints",
            );
        }
    }
    if cryptoki.pin.is_some() && file.mode() & 0o004 != 0 {
        return report.failure(
            Area::Config,
            format!("{shown} ({permissions}) holds a PIN and may be read by everybody"),
            "move the PIN to /etc/credstore/tedge-p11-server.pin, chmod 600, and change it",
        );
    }
    report.ok(Area::Config, format!("{shown} ({permissions})"));
}

/// The signer's credential, the file of a pin-source, and the one given to this program.
fn check_pin_files(context: &Context<'_>, report: &mut Report) {
    let place = |folder: fn(&PinStore) -> &'static str| {
        let mut places = PIN_STORES
            .iter()
            .map(|store| context.root.path(folder(store)).join(SIGNER_PIN));
        let first = places.next().unwrap_or_default();
        std::iter::once(first.clone())
            .chain(places)
            .find(|path| path.exists())
            .unwrap_or(first)
    };
    let credential = place(|store| store.plain);
    let sealed = place(|store| store.sealed);
    check_link(context, &sealed, report);
    if sealed.exists() && !credential.exists() {
        report.ok(
            Area::Config,
            format!("the signer's PIN is sealed in {}", sealed.display()),
        );
    } else {
        check_pin_file(context, &credential, Reader::Systemd, report);
    }
    if credential.exists() && sealed.exists() {
        // Of the folders for LoadCredential=, systemd 257 looks into that of sealed ones first.
        report.warning(
            Area::Config,
            format!(
                "there is a sealed PIN, too, in {}, which systemd may give to the signer as it is",
                sealed.display()
            ),
            "remove the one that is not in use, and restart tedge-p11-server",
        );
    }
    let uri = context
        .cryptoki
        .as_ref()
        .ok()
        .and_then(|c| c.uri.as_deref());
    let uri: Option<Uri> = uri.and_then(|uri| uri.parse().ok());
    if let Some(PinSource::File(file)) = uri.and_then(|uri| uri.pin) {
        // Who may rename in the folder could have exchanged the file since it was read.
        let is_own = |path: &Path| path.metadata().is_ok_and(|found| is_own(&found));
        let toml = context.config_dir.join("tedge.toml");
        let reader = if is_own(&toml) && is_own(&context.config_dir) {
            Reader::Signer
        } else {
            Reader::OfOthers
        };
        check_pin_file(context, &context.root.path(file), reader, report);
    }
    if let Some(file) = &context.place.pin_file {
        check_pin_file(context, file, Reader::Myself, report);
    }
}

/// That systemd finds a PIN which is not in its own folder.
fn check_link(context: &Context<'_>, sealed: &Path, report: &mut Report) {
    let is_elsewhere = sealed.exists() && sealed.starts_with(context.root.path(STATE.sealed));
    let link = context.root.path(SEALED_PIN_LINK);
    if is_elsewhere && !link.is_symlink() {
        report.failure(
            Area::Config,
            format!(
                "there is no link {} to {}, where systemd would find the signer's PIN",
                link.display(),
                sealed.display()
            ),
            format!("systemd-tmpfiles --create {TMPFILES}, as each boot does it"),
        );
    }
}

fn check_pin_file(context: &Context<'_>, path: &Path, reader: Reader, report: &mut Report) {
    let shown = path.display();
    let file = match std::fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return report.skipped(Area::Config, format!("there is no PIN file {shown}"));
        }
        // Root's own folder: this user is not to see more.
        Err(error) => {
            return report.skipped(Area::Config, format!("the PIN file {shown}: {error}"));
        }
    };
    let permissions = context.root.permissions(&file);
    let user = (context.root.uid(SIGNER)).zip(context.root.own_gid(SIGNER));
    let group = match (reader, user) {
        (Reader::Systemd, _) => None,
        (Reader::Signer | Reader::OfOthers, Some((_, gid))) => Some(gid),
        (Reader::Signer | Reader::OfOthers, None) | (Reader::Myself, _) => Some(getegid().as_raw()),
    };
    if !tedge_file::is_private(&file, group) {
        return report.failure(
            Area::Config,
            format!(
                "the PIN file {shown} ({permissions}) may be read by users other than its owner"
            ),
            match reader {
                Reader::OfOthers => LOOK.to_owned(),
                _ => format!(
                    "chmod 600 {}, and change the PIN if others could log in here",
                    quoted(shown)
                ),
            },
        );
    }
    let may_read =
        |(uid, gid)| file.uid() == uid || (file.gid() == gid && file.mode() & 0o040 != 0);
    match (reader, user) {
        (Reader::Signer | Reader::OfOthers, Some(user)) if !may_read(user) => report.failure(
            Area::Config,
            format!(
                "the PIN file {shown} ({permissions}) may not be read by the signer, user {SIGNER}"
            ),
            match reader {
                Reader::OfOthers => LOOK.to_owned(),
                _ => format!("chown root:{SIGNER} {0}; chmod 640 {0}", quoted(shown)),
            },
        ),
        _ => report.ok(
            Area::Config,
            format!("the PIN file {shown} ({permissions})"),
        ),
    }
}

/// Who reads a PIN file.
#[derive(Clone, Copy)]
enum Reader {
    /// As root.
    Systemd,
    Signer,
    /// The same, by a tedge.toml that another user than root may write: it may name any file of root's.
    OfOthers,
    Myself,
}

const LOOK: &str = "tedge.toml, which users other than root may write, names this file: if it is the right one, have root alone and the \
                    signer's group read it";

/// The policy's file.
pub(super) fn policy_file(context: &Context<'_>) -> std::path::PathBuf {
    context.policy_path.clone()
}

/// The user that the signer runs as, by its unit.
pub(super) const SIGNER: &str = "tedge-p11";
