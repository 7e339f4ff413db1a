//! The HSM that `--hsm` names: its module, its environment, and whether it is on this machine.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::profile::{Node, PROFILES, Profile, Usb};
use crate::root::Root;

impl Profile {
    /// Parses `--hsm`.
    pub(crate) fn parse(name: &str) -> Result<&'static Self, String> {
        PROFILES
            .iter()
            .find(|profile| profile.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
                format!("there is {}", names.join(", "))
            })
    }

    /// The kind of HSM that the module of this name is for. OpenSC's is for several: what is plugged
    /// in decides.
    pub(crate) fn of_module(module: &Path, root: &Root) -> Option<&'static Self> {
        let name = module.file_name()?.to_str()?;
        let known = |profile: &&Self| {
            let mut modules = profile.modules.iter();
            modules.any(|known| known.rsplit('/').next() == Some(name))
        };
        let mut fitting = PROFILES.iter().filter(known);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only),
            _ => PROFILES
                .iter()
                .filter(known)
                .find(|profile| profile.usb_device(root).is_some()),
        }
    }

    /// The module's file, if it is installed.
    pub(crate) fn module(&self) -> Option<PathBuf> {
        self.module_candidates()
            .into_iter()
            .find(|path| path.exists())
    }

    /// The same in an image, which may be for another architecture.
    pub(crate) fn module_in(&self, root: &Root) -> Option<PathBuf> {
        if root.is_machine() {
            return self.module();
        }
        let places = self.modules.iter().flat_map(|module| {
            let folders = ALL_LIBRARY_FOLDERS.iter();
            folders.map(move |folder| Path::new(folder).join(module))
        });
        let mut installed = places.filter(|path| root.path(path).exists());
        installed.next()
    }

    /// The variable that names this node, if the operator has set it to something else: a TPM behind a
    /// resource manager's service, perhaps.
    pub(crate) fn set_elsewhere(&self, node: &Node) -> Option<String> {
        let mut variables = self.environment.iter();
        let variable = variables.find(|variable| variable.value.contains(node.path))?;
        let value = std::env::var(variable.name).ok()?;
        (!value.contains(node.path)).then(|| format!("{}={value}", variable.name))
    }

    /// That its module is not there, and what brings it.
    pub(crate) fn not_installed(&self, root: &Root) -> String {
        let folders = if root.is_machine() {
            LIBRARY_FOLDERS
        } else {
            ALL_LIBRARY_FOLDERS
        };
        let folders = folders.iter().map(|folder| root.path(folder));
        let folders: Vec<_> = folders.map(|folder| folder.display().to_string()).collect();
        let packages = &self.packages;
        let brings = match packages.debian.strip_prefix("none: ") {
            Some(how) => format!("neither Debian nor our Yocto layer has a package of it: {how}"),
            None => format!(
                "Debian has it in {}, Yocto in {}",
                packages.debian, packages.yocto
            ),
        };
        format!(
            "the PKCS#11 module of {} is not installed ({} in none of {}); {brings}",
            self.name,
            self.modules[0],
            folders.join(", "),
        )
    }

    /// Where the module may be, the likeliest first.
    pub(crate) fn module_candidates(&self) -> Vec<PathBuf> {
        let places = self.modules.iter().flat_map(|module| {
            LIBRARY_FOLDERS
                .iter()
                .map(move |folder| Path::new(folder).join(module))
        });
        places.collect()
    }

    /// Variables that the module needs and that are not set.
    pub(crate) fn missing_environment(&self) -> Vec<(&'static str, &'static str)> {
        self.environment
            .iter()
            .filter(|variable| std::env::var_os(variable.name).is_none())
            .filter(|variable| !variable.is_path || Path::new(variable.value).exists())
            .map(|variable| (variable.name, variable.value))
            .collect()
    }

    /// Sets the variables that are missing. A process can't change its own environment safely, since
    /// other threads may read it, so it becomes another one. That one finds nothing missing: there is
    /// no second time.
    pub(crate) fn provide_environment(&self) -> anyhow::Result<()> {
        let missing = self.missing_environment();
        if missing.is_empty() {
            return Ok(());
        }
        let program = std::env::current_exe().context("cannot tell this program's own path")?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new(&program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        let error = command.args(arguments).envs(missing).exec();
        Err(error).with_context(|| format!("cannot start {} anew", program.display()))
    }

    /// What of it is on this machine: a device, or for a software token its module. A bus tells only together with the
    /// module.
    pub(crate) fn seen(&self, root: &Root) -> Option<String> {
        if self.nodes.iter().any(|node| node.is_bus) && self.module_in(root).is_none() {
            return None;
        }
        if let Some(node) = self.nodes.first() {
            return root.path(node.path).exists().then(|| node.path.to_owned());
        }
        if !self.usb.is_empty() {
            return self.usb_device(root).map(|device| device.to_string());
        }
        self.module().map(|module| module.display().to_string())
    }

    pub(crate) fn usb_device(&self, root: &Root) -> Option<UsbDevice> {
        usb_devices(root)
            .into_iter()
            .find(|device| self.usb.iter().any(|usb| usb.is(device)))
    }
}

/// A USB device in sysfs.
#[derive(Debug)]
pub(crate) struct UsbDevice {
    pub(crate) vendor: String,
    pub(crate) product: String,
    /// Whether it is a smart card reader too: an interface of class 0x0b (CCID).
    pub(crate) has_ccid: bool,
}

impl std::fmt::Display for UsbDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "USB device {}:{}", self.vendor, self.product)
    }
}

impl Usb {
    fn is(&self, device: &UsbDevice) -> bool {
        device.vendor == self.vendor && (self.product.is_empty() || device.product == self.product)
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel makes these files")]
fn usb_devices(root: &Root) -> Vec<UsbDevice> {
    let folder = root.path("/sys/bus/usb/devices");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let read = |name: &str, attribute: &str| {
        let text = std::fs::read_to_string(folder.join(name).join(attribute)).ok()?;
        Some(text.trim().to_ascii_lowercase())
    };
    names
        .iter()
        .filter_map(|name| {
            // Interfaces are called after their device: 1-2:1.0 is of 1-2.
            let interfaces = format!("{name}:");
            Some(UsbDevice {
                vendor: read(name, "idVendor")?,
                product: read(name, "idProduct")?,
                has_ccid: names.iter().any(|other| {
                    other.starts_with(&interfaces)
                        && read(other, "bInterfaceClass").as_deref() == Some("0b")
                }),
            })
        })
        .collect()
}

/// Debian's for the architecture of this program, then those of Yocto and others.
pub(crate) const LIBRARY_FOLDERS: &[&str] = if cfg!(target_arch = "x86_64") {
    &["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"]
} else if cfg!(target_arch = "aarch64") {
    &["/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
} else if cfg!(target_arch = "arm") {
    &["/usr/lib/arm-linux-gnueabihf", "/usr/lib"]
} else if cfg!(target_arch = "riscv64") {
    &["/usr/lib/riscv64-linux-gnu", "/usr/lib64", "/usr/lib"]
} else {
    &["/usr/lib64", "/usr/lib"]
};

/// Those of all architectures.
const ALL_LIBRARY_FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/arm-linux-gnueabihf",
    "/usr/lib/riscv64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The signer and tedge-hsm must find the same tokens.
    #[test]
    fn the_environment_is_that_of_the_drop_ins() {
        for profile in &PROFILES {
            let drop_in = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../dist/tedge-p11-server/dropins")
                .join(profile.drop_in);
            let text = std::fs::read_to_string(&drop_in).unwrap();
            let lines = |key: &str| -> Vec<String> {
                text.lines()
                    .filter_map(|line| line.strip_prefix(key))
                    .map(str::to_owned)
                    .collect()
            };
            let mut set = lines("Environment=");
            let mut known: Vec<_> = profile
                .environment
                .iter()
                .map(|variable| format!("{}={}", variable.name, variable.value))
                .collect();
            set.sort();
            known.sort();
            assert_eq!(set, known, "{}", profile.name);
            let nodes = profile
                .nodes
                .iter()
                .filter(|node| node.opened_by == crate::profile::OpenedBy::Signer);
            let (paths, groups): (Vec<_>, Vec<_>) =
                nodes.map(|node| (node.path, node.groups[0])).unzip();
            assert_eq!(lines("BindPaths="), paths, "{}", profile.name);
            assert_eq!(lines("SupplementaryGroups="), groups, "{}", profile.name);
        }
    }

    #[test]
    fn a_module_tells_the_hsm() {
        let root = Root::default();
        let of = |path: &str| Profile::of_module(Path::new(path), &root).map(|p| p.name);
        assert_eq!(of("/x/libtpm2_pkcs11.so"), Some("tpm2"));
        assert_eq!(of("/usr/lib/libckteec.so.0"), Some("optee"));
        assert_eq!(of("/usr/lib/other.so"), None);
    }

    #[test]
    fn what_is_plugged_in_tells_opensc_s_hsm() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("sys/bus/usb/devices/1-1");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("idVendor"), "20a0\n").unwrap();
        std::fs::write(device.join("idProduct"), "4230\n").unwrap();
        let root = Root::new(dir.path());
        let found = Profile::of_module(Path::new("/usr/lib/opensc-pkcs11.so"), &root);
        assert_eq!(found.map(|profile| profile.name), Some("nitrokey-hsm2"));
        assert!(!found.unwrap().usb_device(&root).unwrap().has_ccid);
    }
}
