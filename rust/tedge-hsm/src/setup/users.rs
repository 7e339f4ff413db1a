//! The users and groups, and the signer's folder.

use super::context::Setup;
use super::state_folder::StateFolder;
use super::step::{State, Step};
use super::systemd::{in_root, make_tmpfiles, run};

pub(super) struct Users;

impl Step for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn aim(&self, _: &Setup) -> String {
        "make the users tedge-p11 and tedge, the group tedge-hsm and /var/lib/tedge-p11-server"
            .to_owned()
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        let root = &setup.root;
        let there = USERS.iter().all(|user| root.uid(user).is_some())
            && GROUPS.iter().all(|group| root.gid(group).is_some())
            && (!setup.is_machine() || root.path(SIGNER_FOLDER).is_dir());
        Ok(if there {
            State::Done("tedge-p11, tedge, group tedge-hsm".to_owned())
        } else {
            State::ToDo(self.aim(setup))
        })
    }

    fn run(&self, setup: &Setup, _: Option<&StateFolder>) -> anyhow::Result<String> {
        run(&mut in_root(
            &setup.root,
            "systemd-sysusers",
            &["tedge-p11-server.conf"],
        ))?;
        // Of an image /var may be made at the first boot, by the same file.
        if setup.is_machine() {
            make_tmpfiles(&setup.root)?;
        }
        Ok("tedge-p11, tedge, group tedge-hsm".to_owned())
    }
}

const USERS: [&str; 2] = ["tedge-p11", "tedge"];
const GROUPS: [&str; 3] = ["tedge-p11", "tedge", "tedge-hsm"];
const SIGNER_FOLDER: &str = "/var/lib/tedge-p11-server";
