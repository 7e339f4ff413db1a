//! The drop-ins of the signer's unit.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use super::context::Setup;
use super::files::make_folder;
use super::state_folder::StateFolder;
use super::step::{State, Step};
use crate::root::Root;

/// That of the HSM, which lets the signer reach it.
pub(super) struct DropIn;

impl Step for DropIn {
    fn name(&self) -> &'static str {
        "drop-in"
    }

    fn aim(&self, setup: &Setup) -> String {
        format!("link {FOLDER}/{}", name(setup))
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        if let Some(linked) = linked(&setup.root, name(setup)) {
            return Ok(State::Done(linked));
        }
        let source = source(&setup.root, name(setup))?;
        check_place(&setup.root, name(setup))?;
        Ok(State::ToDo(format!("{} to {source}", self.aim(setup))))
    }

    fn run(&self, setup: &Setup, folder: Option<&StateFolder>) -> anyhow::Result<String> {
        link(&setup.root, name(setup), folder)?;
        Ok(format!("{FOLDER}/{}", name(setup)))
    }
}

fn name(setup: &Setup) -> &'static str {
    setup.profile.map_or("", |profile| profile.drop_in)
}

/// Where the drop-in of that name is in force.
pub(super) fn linked(root: &Root, name: &str) -> Option<String> {
    FOLDERS
        .iter()
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| leads_to_a_file(root, path))
}

/// Has the drop-in of that name in force.
pub(super) fn link(root: &Root, name: &str, folder: Option<&StateFolder>) -> anyhow::Result<()> {
    let source = source(root, name)?;
    check_place(root, name)?;
    if let Some(folder) = folder {
        folder.expect_restart()?;
    }
    let dir = root.path(FOLDER);
    let place = dir.join(name);
    let failed = || format!("cannot link {}", place.display());
    let folder = make_folder(&dir, 0o755)?;
    if place.is_symlink() {
        // One that leads nowhere.
        folder.remove(name.as_ref()).with_context(failed)?;
    }
    folder
        .link(name.as_ref(), source.as_ref())
        .with_context(failed)
}

/// Where `make install` or a package has put it.
fn source(root: &Root, name: &str) -> anyhow::Result<String> {
    SOURCES
        .iter()
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| root.path(path).is_file())
        .with_context(|| {
            format!(
                "there is no {}/{name}: install tedge-p11-server first",
                SOURCES[0]
            )
        })
}

/// What somebody else has put there is not replaced.
fn check_place(root: &Root, name: &str) -> anyhow::Result<()> {
    let place = root.path(FOLDER).join(name);
    if place
        .symlink_metadata()
        .is_ok_and(|file| !file.is_symlink() && !file.is_file())
    {
        bail!("{} is no file", place.display());
    }
    Ok(())
}

/// In an image, where a link names a place of the machine to be.
fn leads_to_a_file(root: &Root, path: &str) -> bool {
    let place = root.path(path);
    match std::fs::read_link(&place) {
        Ok(target) => {
            let target = PathBuf::from(path).parent().map(|dir| dir.join(target));
            target.is_some_and(|target| root.path(target).is_file())
        }
        Err(_) => place.is_file(),
    }
}

const FOLDER: &str = "/etc/systemd/system/tedge-p11-server.service.d";
const FOLDERS: [&str; 3] = [
    FOLDER,
    "/usr/lib/systemd/system/tedge-p11-server.service.d",
    "/lib/systemd/system/tedge-p11-server.service.d",
];
const SOURCES: [&str; 2] = [
    "/usr/lib/tedge-p11-server",
    "/usr/local/lib/tedge-p11-server",
];
