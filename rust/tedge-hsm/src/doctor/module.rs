//! The PKCS#11 module's file, and whether it loads.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;
use tedge_p11_token::{Error, LoadError, Module};

use super::context::{Context, within};
use super::cures;
use super::report::{Area, Report};
use crate::profile::Profile;

/// The module, if it loads.
pub(super) fn check(
    context: &Context<'_>,
    services_run: bool,
    report: &mut Report,
) -> Option<Arc<Module>> {
    let Some(path) = &context.module_path else {
        match context.place.hsm {
            Some(profile) => report.failure(
                Area::Module,
                format!("the PKCS#11 module of {} is not installed", profile.name),
                format!(
                    "install {} (Debian) or {} (Yocto), or give --module-path",
                    profile.packages.debian, profile.packages.yocto
                ),
            ),
            None => report.skipped(
                Area::Module,
                "no module is named: give --hsm or --module-path, or set device.cryptoki.module_path in \
                 tedge.toml",
            ),
        }
        return None;
    };
    let shown = path.display();
    if let Err(error) = tedge_file::open(path) {
        let packages = context.profile.map_or_else(
            || "install the package that brings it, or correct the path".to_owned(),
            |profile| {
                format!(
                    "install {} (Debian) or {} (Yocto), or correct the path",
                    profile.packages.debian, profile.packages.yocto
                )
            },
        );
        report.failure(Area::Module, format!("{shown}: {error}"), packages);
        return None;
    }
    let file = match file_to_load(context, path) {
        Ok(file) => file,
        Err(why) => {
            report.failure(
                Area::Module,
                format!("{shown} is not loaded: tedge.toml names it, and {why}"),
                "move the PKCS#11 module to a folder where only root may write, such as /usr/lib; if you \
                 trust it, name it by --module-path",
            );
            return None;
        }
    };
    if !services_run {
        report.skipped(
            Area::Module,
            format!("{shown} is not loaded: it would wait for ever"),
        );
        return None;
    }
    match within(context.limit, move || Module::load(&file)) {
        None => report.failure(
            Area::Module,
            format!(
                "{shown} is loading for more than {} s",
                context.limit.as_secs()
            ),
            "check the device and the service that the module talks to: pcscd, tee-supplicant, tpm2-abrmd",
        ),
        Some(Ok(module)) => {
            report.ok(Area::Module, format!("{shown} is loaded"));
            return Some(Arc::new(module));
        }
        Some(Err(error)) => {
            let cure = cure(&error, context.profile);
            let loads =
                matches!(&error, Error::ModuleLoad { reason, .. } if reason.is_by_the_module());
            let text = format!("{:#}", anyhow::Error::from(error));
            // What keeps this user from the device need not keep the signer.
            if loads && !context.is_straight() && !geteuid().is_root() {
                let what = format!("{text}: this user may not use it, but the signer may");
                report.skipped(Area::Module, what);
            } else {
                report.failure(Area::Module, text, cure);
            }
        }
    }
    None
}

/// Who may write tedge.toml, which thin-edge.io's own user may, must not have root load what he wrote: the
/// signer's sandbox sees to that for the signer. Gives the file that was looked at, where no symbolic link is
/// left that could lead elsewhere by the time it is loaded; or says what speaks against it.
fn file_to_load(context: &Context<'_>, path: &Path) -> Result<PathBuf, String> {
    if !context.module_is_configured || !geteuid().is_root() {
        return Ok(path.to_owned());
    }
    of_root(path, |file| context.root.permissions(file))
}

fn of_root(path: &Path, permissions: impl Fn(&Metadata) -> String) -> Result<PathBuf, String> {
    let unknown =
        |error: std::io::Error| format!("cannot find out which users may write it: {error}");
    let path = path.canonicalize().map_err(unknown)?;
    for part in path.ancestors() {
        let file = part.symlink_metadata().map_err(unknown)?;
        if file.uid() != 0 || file.mode() & 0o022 != 0 {
            return Err(format!(
                "users other than root may write {} ({})",
                part.display(),
                permissions(&file)
            ));
        }
    }
    Ok(path)
}

fn cure(error: &Error, profile: Option<&Profile>) -> String {
    let Error::ModuleLoad { reason, .. } = error else {
        return cures::of(&error.to_string());
    };
    match reason {
        LoadError::NoFile => "install the package that brings it, or correct the path",
        LoadError::Unreadable { .. } | LoadError::ClosedFolder { .. } => {
            "give this user the right to read it, or run this as root"
        }
        LoadError::NoExec(_) => "install the module under /usr/lib",
        LoadError::MissingLibrary { library, .. } => {
            return format!(
                "install the package that brings the library {library} (ldd shows them all)"
            );
        }
        LoadError::OtherArchitecture(_) => "install the module for this program's architecture",
        LoadError::NoLibrary(_) => "this is no shared library: name the module's .so file",
        LoadError::NoModule(_) | LoadError::Own => {
            "this is no PKCS#11 module of an HSM: name the right one (tedge-hsm hsms lists them)"
        }
        LoadError::Returned {
            folder: Some(_), ..
        } => {
            let setup = profile.map_or_else(String::new, |profile| {
                format!(
                    "tedge-hsm setup --hsm {} makes the signer's, if this machine is not set up yet; else ",
                    profile.name
                )
            });
            return format!(
                "{setup}make the folder, or name the right one, for the user that this runs as"
            );
        }
        LoadError::Returned { .. } | LoadError::Call(_) | LoadError::Linker(_) => {
            return cures::of(&reason.to_string());
        }
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A link that leads to root's file when it is looked at may lead elsewhere when it is loaded.
    #[test]
    fn what_is_loaded_is_what_was_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("module.so");
        symlink("/bin/sh", &link).unwrap();
        let load = of_root(&link, |_| String::new()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "").unwrap();
        std::fs::remove_file(&link).unwrap();
        symlink(&elsewhere, &link).unwrap();
        let sh = Path::new("/bin/sh").canonicalize().unwrap();
        assert_eq!(load.canonicalize().unwrap(), sh);
        let error = of_root(&link, |_| String::new()).unwrap_err();
        assert!(error.contains("users other than root may write"), "{error}");
    }
}
