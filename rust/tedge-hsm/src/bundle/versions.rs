//! Which versions of what are on the machine.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use tedge_file::MAX_SETTINGS;

use super::log::run;
use crate::root::Root;

/// Our own, the kernel's, the distribution's, and those of the packages that matter.
pub(super) fn of_machine(root: &Root, limit: Duration) -> String {
    let mut text = format!("tedge-hsm {}\n", env!("CARGO_PKG_VERSION"));
    // Not its version: it names the machine that built it. Nor the host's name.
    let kernel = rustix::system::uname();
    let part = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let _ = writeln!(
        text,
        "{} {} {}\n",
        part(kernel.sysname()),
        part(kernel.release()),
        part(kernel.machine())
    );
    let os = tedge_file::read_text(&root.path("/etc/os-release"), MAX_SETTINGS);
    let os = os.or_else(|_| tedge_file::read_text(&root.path("/usr/lib/os-release"), MAX_SETTINGS));
    for line in os.unwrap_or_default().lines() {
        if line
            .split_once('=')
            .is_some_and(|(key, _)| DISTRIBUTION.contains(&key))
        {
            let _ = writeln!(text, "{line}");
        }
    }
    let mut packages = Command::new("dpkg-query");
    packages
        .args(["-W", "-f", "${Package} ${Version} ${Architecture}\n"])
        .args(PACKAGES);
    text + "\n" + &run(&mut packages, limit)
}

/// Of os-release(5).
const DISTRIBUTION: [&str; 8] = [
    "ID",
    "ID_LIKE",
    "VERSION_ID",
    "VERSION_CODENAME",
    "PRETTY_NAME",
    "VARIANT_ID",
    "BUILD_ID",
    "IMAGE_VERSION",
];
/// Patterns of dpkg-query's. Yocto's package managers do not know that program; its image's version tells there.
const PACKAGES: [&str; 18] = [
    "tedge*",
    "libtedge-p11*",
    "libtpm2-pkcs11*",
    "libtss2*",
    "tpm-udev",
    "tpm2-tools",
    "libckteec*",
    "tee-supplicant",
    "opensc*",
    "pcscd",
    "libccid",
    "softhsm2",
    "libsofthsm2",
    "pkcs11-provider",
    "p11-kit*",
    "openssl",
    "mosquitto",
    "systemd",
];
