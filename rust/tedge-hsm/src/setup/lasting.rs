//! Whether what is written outlives a reboot: roots may be read-only, and folders in memory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, stat, statfs};

use crate::root::Root;

/// Why what a device is about to make would be lost with its next reboot. Trying again does not help: the image is to be
/// made otherwise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLasting {
    #[error(
        "{folder} is in memory ({kind}): PIN and keys would be gone after a reboot; mount a partition that stays over it \
         (meta-tedge-hsm: TEDGE_HSM_STATE_DIR)"
    )]
    InMemory { folder: PathBuf, kind: &'static str },
    #[error(
        "there is no TPM to seal it with, and systemd's own key (/var/lib/systemd/credential.secret) goes with the \
         machine id, which is made anew at each boot here: have the boot loader keep one for systemd.machine_id=, or keep \
         the PIN in a file that root alone may read (--no-seal; SEAL=no in the settings)"
    )]
    MachineId,
}

/// The kind of file system, if what is written to `path`, or is made there, is in memory: gone after a reboot.
pub(super) fn in_memory(path: &Path) -> Option<&'static str> {
    let path = existing(path);
    match kind(path)? {
        TMPFS => Some("tmpfs"),
        RAMFS => Some("ramfs"),
        // Where the upper folder is. Within a container it can't be seen, and the container's keeper knows.
        OVERLAYFS => {
            let upper = upper_folder(path)?;
            [TMPFS, RAMFS]
                .contains(&kind(&upper)?)
                .then_some("an overlay on tmpfs")
        }
        _ => None,
    }
}

/// Whether root may write to `path`, or make it, and it stays.
pub(super) fn is_kept(path: &Path) -> bool {
    in_memory(path).is_none() && access(existing(path), Access::WRITE_OK).is_ok()
}

/// Whether the machine's id is the same after a reboot. Where /etc is read-only and has none, systemd makes one up at
/// each boot and mounts it over the file (machine-id(5)), unless the kernel was given one.
pub(super) fn machine_id_is_kept(root: &Root) -> bool {
    if in_memory(&root.path("/etc/machine-id")).is_none() {
        return true;
    }
    #[expect(clippy::disallowed_methods, reason = "the kernel makes this file")]
    let words = std::fs::read_to_string(root.path("/proc/cmdline")).unwrap_or_default();
    words.split_whitespace().any(|word| {
        let id = word.strip_prefix("systemd.machine_id=");
        id.is_some_and(|id| id != "firmware")
    })
}

/// `f_type` of statfs(2), whose type depends on the CPU.
fn kind(path: &Path) -> Option<i128> {
    let kind = i128::from(statfs(path).ok()?.f_type);
    Some(kind & 0xffff_ffff)
}

/// The path, or the first of the folders above it that is there.
fn existing(path: &Path) -> &Path {
    let mut above = path.ancestors();
    above
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new("/"))
}

/// Of the overlay that `path` is on.
fn upper_folder(path: &Path) -> Option<PathBuf> {
    let device = stat(path).ok()?.st_dev;
    #[expect(clippy::disallowed_methods, reason = "the kernel makes this file")]
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let device = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    upper_in(&mounts, &device)
}

/// `upperdir=` of the mount of that device, in /proc/self/mountinfo (proc_pid_mountinfo(5)).
fn upper_in(mounts: &str, device: &str) -> Option<PathBuf> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(device))?;
    let options = line.rsplit(' ').next()?;
    let upper = options
        .split(',')
        .find_map(|option| option.strip_prefix("upperdir="))?;
    Some(PathBuf::from(OsStr::new(upper)))
}

/// statfs(2).
const TMPFS: i128 = 0x0102_1994;
const RAMFS: i128 = 0x8584_58f6;
const OVERLAYFS: i128 = 0x794c_7630;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_folder_of_an_overlay_is_found() {
        let mounts = "22 1 0:20 / / ro,relatime shared:1 - ext4 /dev/root ro\n\
                      40 22 0:35 / /var/lib rw,relatime shared:9 - overlay overlay \
                      rw,lowerdir=/var/lib,upperdir=/var/volatile/lib,workdir=/var/volatile/.lib-work\n";
        assert_eq!(upper_in(mounts, "0:35"), Some("/var/volatile/lib".into()));
        assert_eq!(upper_in(mounts, "0:20"), None);
        assert_eq!(upper_in(mounts, "0:36"), None);
    }

    #[test]
    fn what_is_in_memory_is_told() {
        // Linux has it everywhere.
        assert_eq!(in_memory(Path::new("/dev/shm/not/there")), Some("tmpfs"));
        assert!(!is_kept(Path::new("/dev/shm")));
        assert_eq!(in_memory(Path::new("/proc/self")), None);
    }
}
