//! The folders in which modules keep tokens: of one that is missing, modules say no more than CKR_GENERAL_ERROR.

use std::ffi::OsString;
use std::fs::read_dir;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::geteuid;
use tedge_file::FileError;

/// What is wrong with the folder of a module's tokens, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokenFolderError {
    /// `SoftHSM2`'s settings, which name the folder, cannot be read.
    #[error(
        "SoftHSM2's settings {} ({named_by}) can't be read by {}: {error}; let this user read them, or give it settings \
         of its own, with directories.tokendir, at ~/.config/softhsm2/softhsm2.conf or where SOFTHSM2_CONF says",
        file.display(), this_user()
    )]
    Settings {
        /// The file.
        file: PathBuf,
        /// What names the file.
        named_by: &'static str,
        /// Why it cannot be read. It is in the text.
        error: FileError,
    },
    /// The folder is not there, or this user may not use it.
    #[error(
        "the folder of its tokens, {} ({named_by}), can't be {for_what} by {}: {error}; make it, and give it to the user \
         that this program runs as, or name another one",
        folder.display(), this_user()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What names the folder.
        named_by: String,
        /// `read` or `written`.
        for_what: &'static str,
        /// Why not. It is in the text.
        error: io::Error,
    },
}

/// Looks at the folder of the tokens of `module`, which could not be initialised. Nothing is wrong if nothing is
/// known of the module.
pub(crate) fn check(module: &Path) -> Result<(), TokenFolderError> {
    check_with(module, |name| std::env::var_os(name))
}

fn check_with(
    module: &Path,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<(), TokenFolderError> {
    let name = module.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("libsofthsm2") {
        check_softhsm(&env)
    } else if name.starts_with("libtpm2_pkcs11") {
        check_tpm2(&env)
    } else {
        Ok(())
    }
}

/// SoftHSM2 reads one file: that of the environment, else the user's own if there is one, else the system's.
fn check_softhsm(env: &impl Fn(&str) -> Option<OsString>) -> Result<(), TokenFolderError> {
    let own = env("HOME").map(|home| Path::new(&home).join(".config/softhsm2/softhsm2.conf"));
    let own = own.filter(|own| access(own, Access::READ_OK).is_ok());
    let (file, named_by) = match (env("SOFTHSM2_CONF"), own) {
        (Some(file), _) => (PathBuf::from(file), "SOFTHSM2_CONF"),
        (None, Some(own)) => (own, "the user's own"),
        (None, None) => (
            PathBuf::from("/etc/softhsm/softhsm2.conf"),
            "SOFTHSM2_CONF is not set",
        ),
    };
    let text = match tedge_file::read_text(&file, tedge_file::MAX_SETTINGS) {
        Ok(text) => text,
        Err(error) => {
            return Err(TokenFolderError::Settings {
                file,
                named_by,
                error,
            });
        }
    };
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let Some((_, folder)) = lines.find(|(key, _)| key.trim() == "directories.tokendir") else {
        return Ok(());
    };
    let named_by = format!("directories.tokendir in {}", file.display());
    check_folder(PathBuf::from(folder.trim()), named_by)
}

/// tpm2-pkcs11 takes the folder of the environment, else the first that has its database: the system's, the user's
/// own. It makes the user's own if it can.
fn check_tpm2(env: &impl Fn(&str) -> Option<OsString>) -> Result<(), TokenFolderError> {
    let system = PathBuf::from("/etc/tpm2_pkcs11");
    let own = env("HOME").map(|home| Path::new(&home).join(".tpm2_pkcs11"));
    let (folder, named_by) = match (env("TPM2_PKCS11_STORE"), own) {
        (Some(folder), _) => (PathBuf::from(folder), "TPM2_PKCS11_STORE"),
        (None, Some(own)) if !system.exists() => (own, "TPM2_PKCS11_STORE is not set"),
        (None, _) => (system, "TPM2_PKCS11_STORE is not set"),
    };
    check_folder(folder.clone(), named_by.to_owned())?;
    // It writes locks beside its database, and opens that to be written.
    let database = folder.join("tpm2_pkcs11.sqlite3");
    let to_be_written = [Some(&folder), Some(&database).filter(|file| file.exists())];
    for path in to_be_written.into_iter().flatten() {
        if let Err(error) = access(path, Access::WRITE_OK) {
            return Err(TokenFolderError::Folder {
                folder: path.clone(),
                named_by: named_by.to_owned(),
                for_what: "written",
                error: error.into(),
            });
        }
    }
    Ok(())
}

fn check_folder(folder: PathBuf, named_by: String) -> Result<(), TokenFolderError> {
    match read_dir(&folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(TokenFolderError::Folder {
            folder,
            named_by,
            for_what: "read",
            error,
        }),
    }
}

fn this_user() -> String {
    tedge_file::user(geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        let conf = dir.path().join("softhsm2.conf");
        let softhsm = Path::new("/usr/lib/softhsm/libsofthsm2.so");
        let tpm = Path::new("/usr/lib/libtpm2_pkcs11.so.1");
        let trouble = |module| {
            let env = |name: &str| match name {
                "SOFTHSM2_CONF" => Some(conf.clone().into()),
                _ => Some(tokens.clone().into()),
            };
            check_with(module, env).err().map(|error| error.to_string())
        };
        assert!(
            trouble(softhsm)
                .unwrap()
                .contains("softhsm2.conf (SOFTHSM2_CONF)")
        );
        let text = format!("# x\ndirectories.tokendir = {}\n", tokens.display());
        std::fs::write(&conf, text).unwrap();
        for module in [softhsm, tpm] {
            let said = trouble(module).unwrap();
            assert!(said.contains(tokens.to_str().unwrap()), "{said}");
        }
        std::fs::create_dir(&tokens).unwrap();
        assert_eq!([softhsm, tpm].map(trouble), [None, None]);
        assert_eq!(trouble(Path::new("/usr/lib/opensc-pkcs11.so")), None);
    }

    #[test]
    fn the_users_own_folder_counts_where_the_environment_names_none() {
        let home = tempfile::tempdir().unwrap();
        let softhsm = Path::new("/usr/lib/softhsm/libsofthsm2.so");
        let tpm = Path::new("/usr/lib/libtpm2_pkcs11.so.1");
        let trouble = |module| {
            let env = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
            check_with(module, env).err().map(|error| error.to_string())
        };
        let conf = home.path().join(".config/softhsm2/softhsm2.conf");
        std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
        std::fs::write(&conf, "directories.tokendir = /nowhere/tokens\n").unwrap();
        let said = trouble(softhsm).unwrap();
        for part in ["/nowhere/tokens", conf.to_str().unwrap()] {
            assert!(said.contains(part), "{said}");
        }
        if !Path::new("/etc/tpm2_pkcs11").exists() {
            let own = home.path().join(".tpm2_pkcs11");
            let said = trouble(tpm).unwrap();
            assert!(said.contains(own.to_str().unwrap()), "{said}");
            std::fs::create_dir(&own).unwrap();
            assert_eq!(trouble(tpm), None);
        }
    }
}
