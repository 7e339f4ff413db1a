//! The folders in which modules keep tokens: of one that is missing, modules say no more than CKR_GENERAL_ERROR.

use std::ffi::OsString;
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// Says what is wrong with the folder of the tokens of `module`, which could not be initialised, and what to do.
/// None if nothing is, or if nothing is known of the module.
pub(crate) fn trouble(module: &Path) -> Option<String> {
    trouble_in(module, |name| std::env::var_os(name))
}

fn trouble_in(module: &Path, env: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let name = module.file_name()?.to_str()?;
    let (folder, named_by) = if name.starts_with("libsofthsm2") {
        let file = env("SOFTHSM2_CONF").map_or_else(
            || PathBuf::from("/etc/softhsm/softhsm2.conf"),
            PathBuf::from,
        );
        let shown = file.display().to_string();
        let text = match tedge_file::read_text(&file, tedge_file::MAX_SETTINGS) {
            Ok(text) => text,
            Err(error) => {
                return Some(format!(
                    "SoftHSM2's settings {shown} (SOFTHSM2_CONF) can't be read: {error}"
                ));
            }
        };
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let (_, folder) = lines.find(|(key, _)| key.trim() == "directories.tokendir")?;
        (
            PathBuf::from(folder.trim()),
            format!("directories.tokendir in {shown}"),
        )
    } else if name.starts_with("libtpm2_pkcs11") {
        let folder = env("TPM2_PKCS11_STORE");
        let folder = folder.map_or_else(|| PathBuf::from("/etc/tpm2_pkcs11"), PathBuf::from);
        (folder, "TPM2_PKCS11_STORE".to_owned())
    } else {
        return None;
    };
    let error = read_dir(&folder).err()?;
    Some(format!(
        "the folder of its tokens, {} ({named_by}), can't be read: {error}; make it, and give it to the user that \
         this program runs as",
        folder.display()
    ))
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
            trouble_in(module, |name| match name {
                "SOFTHSM2_CONF" => Some(conf.clone().into()),
                _ => Some(tokens.clone().into()),
            })
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
}
