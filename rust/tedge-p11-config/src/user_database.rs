//! What the user database of this machine says (passwd and group of nsswitch.conf).

use std::ffi::CString;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use crate::peer::{Account, Peer};
use crate::policy_text::Names;

/// A user's entry, as far as a policy may need it.
#[derive(Clone, Debug)]
pub struct UserEntry {
    /// Whether the database has the uid.
    pub is_known: bool,
    /// The primary group that was asked with, and those that the database has the user in, if they were asked
    /// for.
    pub groups: Arc<[u32]>,
}

/// Looks `uid` up, with its groups only if `with_groups`. Reads files, and may ask services: it may take its
/// time.
#[must_use]
pub fn look_up_user(uid: u32, gid: u32, with_groups: bool) -> UserEntry {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let is_known = user.is_some();
    let mut groups = vec![gid];
    // A user that the database does not have, of a container perhaps, is in no other group.
    let name = user.filter(|_| with_groups);
    if let Some(name) = name.and_then(|user| CString::new(user.name).ok()) {
        let more = getgrouplist(&name, Gid::from_raw(gid)).unwrap_or_default();
        groups.extend(more.into_iter().map(Gid::as_raw));
        groups.sort_unstable();
        groups.dedup();
    }
    UserEntry {
        is_known,
        groups: groups.into(),
    }
}

impl Peer {
    /// This process, as the signer would see it.
    #[must_use]
    pub fn myself() -> Self {
        let uid = geteuid().as_raw();
        Self {
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            uid,
            account: Account::User(uid),
            groups: look_up_user(uid, getegid().as_raw(), true).groups,
        }
    }
}

/// The names of this machine.
pub(crate) struct UserDatabase;

impl Names for UserDatabase {
    fn uid(&self, name: &str) -> Option<u32> {
        let user = User::from_name(name).ok()??;
        Some(user.uid.as_raw())
    }

    fn gid(&self, name: &str) -> Option<u32> {
        let group = Group::from_name(name).ok()??;
        Some(group.gid.as_raw())
    }
}
