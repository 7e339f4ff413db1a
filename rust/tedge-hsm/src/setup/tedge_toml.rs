//! tedge.toml, in which thin-edge.io and others have settings of their own.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tedge_p11_client::Uri;
use tedge_p11_config::{DEFAULT_CONFIG_DIR, read_cryptoki};
use toml_edit::{DocumentMut, Item, value};

use super::context::Setup;
use super::files;
use super::state_folder::StateFolder;
use super::step::{State, Step};
use crate::toml_table::table;

/// Names the module, and what clients are confined to.
pub(super) struct TedgeToml;

impl Step for TedgeToml {
    fn name(&self) -> &'static str {
        "tedge.toml"
    }

    fn aim(&self, setup: &Setup) -> String {
        format!("name the module in {}", path(setup).display())
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        let path = path(setup);
        let missing = missing(setup, &path)?;
        if missing.is_empty() {
            return Ok(State::Done(path.display().to_string()));
        }
        // What can't be edited is said before anything is done.
        edited(files::edit(&path)?.text(), &missing)?;
        Ok(State::ToDo(format!(
            "{} gets {}",
            path.display(),
            shown(&missing)
        )))
    }

    fn run(&self, setup: &Setup, folder: Option<&StateFolder>) -> anyhow::Result<String> {
        let path = path(setup);
        let missing = missing(setup, &path)?;
        if let Some(folder) = folder {
            folder.expect_restart()?;
        }
        if let Some(dir) = path.parent() {
            files::make_folder(dir, 0o755)?;
        }
        let file = files::edit(&path)?;
        let text = edited(file.text(), &missing)?;
        file.replace(&text, 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(format!("{} has {}", path.display(), shown(&missing)))
    }
}

fn path(setup: &Setup) -> PathBuf {
    setup.root.path(DEFAULT_CONFIG_DIR).join("tedge.toml")
}

/// What is not set there. What is set to something else is somebody's decision, and an error.
fn missing(setup: &Setup, path: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    files::check_no_link(path)?;
    check_readable(setup, path)?;
    let set = read_cryptoki(path)?;
    let mut missing = Vec::new();
    match set.module_path.filter(|module| !module.is_empty()) {
        None => missing.push(("module_path", setup.module.display().to_string())),
        Some(module) if is_the_module(setup, Path::new(&module)) => {}
        Some(module) => bail!(
            "{}: module_path is {module}, not {}: remove that line, or name the HSM that it is for",
            path.display(),
            setup.module.display()
        ),
    }
    let wanted = setup.confined_to();
    let set_uri = set.uri.filter(|uri| !uri.is_empty());
    if let Some(text) = set_uri.as_ref().filter(|_| !missing.is_empty()) {
        // Without the module it is what is left of another HSM's settings, or somebody's wish.
        let uri: Uri = text
            .parse()
            .with_context(|| format!("{}, device.cryptoki.uri", path.display()))?;
        let wanted = wanted.clone().unwrap_or_default();
        let is_another = (uri.id.is_some() && uri.id != wanted.id)
            || (uri.token.is_some() && wanted.token.is_none());
        if is_another {
            bail!(
                "{}: uri is {}, which confines the signer to a key or token of another HSM than {}: remove that \
                 line",
                path.display(),
                Uri { pin: None, ..uri },
                setup.profile.map_or("this", |profile| profile.name),
            );
        }
    }
    let Some(wanted) = wanted else {
        return Ok(missing);
    };
    match set_uri {
        None => missing.push(("uri", wanted.to_string())),
        Some(text) => {
            let uri: Uri = text
                .parse()
                .with_context(|| format!("{}, device.cryptoki.uri", path.display()))?;
            let label = uri.token.as_deref();
            if wanted.token.is_some() && label.is_some() && label != wanted.token.as_deref() {
                bail!(
                    "{}: uri confines the signer to the token {:?}; give --token {0:?}, or remove that line",
                    path.display(),
                    label.unwrap_or_default(),
                );
            }
        }
    }
    Ok(missing)
}

/// The signer's user is in no group that others are in.
fn check_readable(setup: &Setup, path: &Path) -> anyhow::Result<()> {
    match path.metadata() {
        Ok(file)
            if file.mode() & 0o004 == 0
                && setup.root.gid("tedge-p11") != Some(file.gid())
                && setup.root.uid("tedge-p11") != Some(file.uid()) =>
        {
            bail!(
                "{} ({}): the signer, user tedge-p11, may not read it: chmod o+r it, without a PIN in it",
                path.display(),
                setup.root.permissions(&file)
            )
        }
        _ => Ok(()),
    }
}

/// The same file, or another module for the same HSM.
fn is_the_module(setup: &Setup, module: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(ToOwned::to_owned);
    let known = setup.profile.is_some_and(|profile| {
        let mut modules = profile.modules.iter();
        modules.any(|known| name(Path::new(known)) == name(module))
    });
    known || module == setup.module
}

/// The text with these in the table `[device.cryptoki]`, and otherwise as it is.
fn edited(text: &str, missing: &[(&'static str, String)]) -> anyhow::Result<String> {
    // Not its own error, which shows the line: that may hold a PIN.
    let mut document: DocumentMut = text.parse().ok().context("this is not TOML")?;
    let cryptoki = table(table(document.as_table_mut(), "device")?, "cryptoki")?;
    for (name, text) in missing {
        // In place of an empty one, with the comments that are around it.
        match cryptoki.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = text.into();
                *old.decor_mut() = decor;
            }
            None => {
                cryptoki.insert(name, value(text));
            }
        }
    }
    Ok(document.to_string())
}

fn shown(missing: &[(&'static str, String)]) -> String {
    let settings: Vec<_> = missing
        .iter()
        .map(|(name, text)| format!("{name} = {text:?}"))
        .collect();
    settings.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str) -> String {
        let missing = [
            ("module_path", "/m.so".to_owned()),
            ("uri", "pkcs11:token=device".to_owned()),
        ];
        edited(text, &missing).unwrap()
    }

    #[test]
    fn what_others_wrote_stays() {
        let ours = "module_path = \"/m.so\"\nuri = \"pkcs11:token=device\"\n";
        assert_eq!(edit(""), format!("[device.cryptoki]\n{ours}"));
        let before = "# thin-edge.io's\n[device]\n  id = 'x' # name\n\n[device.cryptoki]\nmode = \"socket\"\n";
        let after = "\n[c8y]\nurl = \"example.com\"\n# end\n";
        assert_eq!(
            edit(&format!("{before}{after}")),
            format!("{before}{ours}{after}")
        );
        let other = "[c8y]\nurl = \"example.com\"\n";
        assert_eq!(edit(other), format!("{other}\n[device.cryptoki]\n{ours}"));
    }

    #[test]
    fn tables_in_other_forms_are_edited_too() {
        for text in [
            "device.cryptoki.mode = \"socket\"\n",
            "[device]\ncryptoki = { mode = \"socket\" }\n",
            "device = { cryptoki = { mode = \"socket\" } }\n",
            "[device]\nid = \"x\"\ncryptoki.mode = \"socket\"\n[c8y]\nurl = \"u\"\n",
            "[device.cryptoki]\nmodule_path = \"\" # none yet\nmode = \"socket\"\n",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("tedge.toml");
            std::fs::write(&path, edit(text)).unwrap();
            let read = read_cryptoki(&path).unwrap();
            assert_eq!(read.module_path.as_deref(), Some("/m.so"), "{}", edit(text));
            assert_eq!(read.uri.as_deref(), Some("pkcs11:token=device"));
            assert!(edit(text).contains("socket"));
        }
        assert!(
            edit("[device.cryptoki]\nmodule_path = \"\" # none yet\n")
                .contains("\"/m.so\" # none yet")
        );
        assert!(edited("device = 1\n", &[]).is_err());
    }
}
