//! Device nodes and USB devices, who may open them, and the udev rules that say so.

use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::context::Context;
use super::report::{Area, Report};
use super::units::{UNIT_FOLDERS, installed};
use crate::hsm::LIBRARY_FOLDERS;
use crate::profile::{Node, OpenedBy, PROFILES, Profile};

pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let Some(profile) = context.profile else {
        let seen: Vec<_> = PROFILES
            .iter()
            .filter(|profile| profile.seen(&context.root).is_some())
            .map(|profile| profile.name)
            .collect();
        report.skipped(
            Area::Device,
            format!(
                "neither --hsm nor the module says which HSM is meant; on this machine: {}",
                if seen.is_empty() {
                    "none".to_owned()
                } else {
                    seen.join(", ")
                }
            ),
        );
        return;
    };
    for node in profile.nodes {
        check_node(context, profile, node, report);
    }
    if !profile.usb.is_empty() {
        check_usb(context, profile, report);
    }
    check_drop_in(context, profile, report);
}

fn check_node(context: &Context<'_>, profile: &Profile, node: &Node, report: &mut Report) {
    if let Some(setting) = profile.set_elsewhere(node) {
        return report.skipped(
            Area::Device,
            format!("{} is not used here: {setting}", node.path),
        );
    }
    let path = context.root.path(node.path);
    let file = match std::fs::metadata(&path) {
        Ok(file) => file,
        Err(error) => {
            return report.failure(
                Area::Device,
                format!("{}: {error}", node.path),
                node.if_missing,
            );
        }
    };
    let permissions = context.root.permissions(&file);
    let groups: Vec<_> = node
        .groups
        .iter()
        .filter_map(|group| Some((*group, context.root.gid(group)?)))
        .collect();
    check_rule(context, node, report);
    if node.opened_by == OpenedBy::TeeSupplicant {
        return report.ok(Area::Device, format!("{}: {permissions}", node.path));
    }
    if groups.is_empty() {
        return report.failure(
            Area::Device,
            format!(
                "{}: {permissions}; there is no group {}, which the signer would use to open it",
                node.path,
                node.groups.join(" or ")
            ),
            format!(
                "groupadd --system {}, install {}, then udevadm trigger",
                node.groups[0], node.rule_from
            ),
        );
    }
    let Some((group, _)) = groups
        .iter()
        .find(|(_, gid)| file.gid() == *gid && file.mode() & 0o060 == 0o060)
    else {
        return report.failure(
            Area::Device,
            format!(
                "{}: {permissions}; the signer opens it as a member of group {}, which has no access",
                node.path, groups[0].0
            ),
            format!("install {}, then udevadm trigger", node.rule_from),
        );
    };
    if *group != node.groups[0] {
        report.warning(
            Area::Device,
            format!(
                "{}: {permissions}; the drop-in {} has group {}",
                node.path, profile.drop_in, node.groups[0]
            ),
            format!("systemctl edit tedge-p11-server, and add SupplementaryGroups={group}"),
        );
    }
    // Who works through the signer need not open it himself.
    let may_open = accessat(
        CWD,
        &path,
        Access::READ_OK | Access::WRITE_OK,
        AtFlags::EACCESS,
    );
    match may_open {
        Err(error) if context.is_straight() => report.failure(
            Area::Device,
            format!(
                "{}: {permissions}; this user may not open it: {error}",
                node.path
            ),
            format!("usermod -aG {group} USER and log in again, or work through the signer"),
        ),
        _ => report.ok(Area::Device, format!("{}: {permissions}", node.path)),
    }
}

/// A rule file that names the device.
fn check_rule(context: &Context<'_>, node: &Node, report: &mut Report) {
    for folder in RULE_FOLDERS {
        let Ok(files) = std::fs::read_dir(context.root.path(folder)) else {
            continue;
        };
        for file in files.flatten() {
            let is_rule = file.path().extension().is_some_and(|end| end == "rules");
            let text =
                tedge_file::read_text(&file.path(), tedge_file::MAX_SETTINGS).unwrap_or_default();
            let names_it = text
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                .any(|line| node.rule.iter().any(|part| line.contains(part)));
            if is_rule && names_it {
                let name = file.file_name().to_string_lossy().into_owned();
                return report.ok(
                    Area::Device,
                    format!("{}: udev rule {folder}/{name}", node.path),
                );
            }
        }
    }
    report.warning(
        Area::Device,
        format!(
            "{}: no udev rule in {} names it, so its permissions are lost at the next boot",
            node.path,
            RULE_FOLDERS.join(", ")
        ),
        format!("install {}", node.rule_from),
    );
}

fn check_usb(context: &Context<'_>, profile: &Profile, report: &mut Report) {
    match profile.usb_device(&context.root) {
        None => report.failure(
            Area::Device,
            format!("no USB device of {} is plugged in", profile.name),
            "plug it in; dmesg says whether the kernel saw it, and a hub may lack power",
        ),
        Some(device) if !device.has_ccid => report.failure(
            Area::Device,
            format!("{device} has no smart card interface (CCID)"),
            "for a YubiKey: ykman config usb --enable PIV",
        ),
        Some(device) => report.ok(Area::Device, device.to_string()),
    }
    let driver = LIBRARY_FOLDERS.iter().find_map(|folder| {
        let folder = format!("{folder}/pcsc/drivers/ifd-ccid.bundle");
        context.root.path(&folder).exists().then_some(folder)
    });
    match driver {
        Some(folder) => report.ok(Area::Device, format!("pcscd's driver of readers: {folder}")),
        None => report.failure(
            Area::Device,
            "pcscd's driver of USB readers (ifd-ccid.bundle) is not installed",
            "install libccid (Debian) or ccid (Yocto), and restart pcscd",
        ),
    }
}

/// Where the signer runs as a unit, it needs the drop-in for this HSM.
fn check_drop_in(context: &Context<'_>, profile: &Profile, report: &mut Report) {
    if !installed(&context.root, UNIT) {
        return report.skipped(
            Area::Device,
            format!(
                "the unit {UNIT} is not installed: its drop-in for {} is not needed",
                profile.name
            ),
        );
    }
    let linked = UNIT_FOLDERS.iter().find_map(|folder| {
        let path = format!("{folder}/{UNIT}.d/{}", profile.drop_in);
        context
            .root
            .path(&path)
            .symlink_metadata()
            .is_ok()
            .then_some(path)
    });
    match linked {
        Some(path) => report.ok(Area::Device, format!("the signer's drop-in {path}")),
        None => report.failure(
            Area::Device,
            format!(
                "the signer has no drop-in {}, so its sandbox shows it no {}",
                profile.drop_in, profile.name
            ),
            format!(
                "mkdir -p /etc/systemd/system/{UNIT}.d; ln -s /usr/lib/tedge-p11-server/{0} \
                 /etc/systemd/system/{UNIT}.d/; systemctl daemon-reload",
                profile.drop_in
            ),
        ),
    }
}

const UNIT: &str = "tedge-p11-server.service";
const RULE_FOLDERS: [&str; 3] = [
    "/etc/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];
