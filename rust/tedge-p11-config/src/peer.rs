//! A client of the signer, as the policy sees it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgrouplist};

/// A client by the credentials that it had when it connected (SO_PEERCRED).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// 0 if the client is in a PID namespace that this process can't see into.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    gid: u32,
    /// Shared with copies: looked up once.
    groups: Arc<OnceLock<Vec<u32>>>,
}

impl Peer {
    /// The client with these credentials. The user database is read when its groups are asked for.
    #[must_use]
    pub fn new(pid: i32, uid: u32, gid: u32) -> Self {
        Self {
            pid,
            uid,
            gid,
            groups: Arc::default(),
        }
    }

    /// A client whose groups are known, its primary one first.
    #[must_use]
    pub fn with_groups(pid: i32, uid: u32, groups: &[u32]) -> Self {
        Self {
            groups: Arc::new(OnceLock::from(groups.to_vec())),
            ..Self::new(pid, uid, groups.first().copied().unwrap_or(uid))
        }
    }

    /// This process, as the signer would see it.
    #[must_use]
    pub fn myself() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        Self::new(pid, geteuid().as_raw(), getegid().as_raw())
    }

    /// Its primary group, and those that the user database has its user in. The process's own
    /// supplementary groups can be read only by its pid, which may be another process's by then.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        self.groups.get_or_init(|| look_up(self.uid, self.gid))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} (pid {})", self.uid, self.pid)
    }
}

fn look_up(uid: u32, gid: u32) -> Vec<u32> {
    let mut groups = vec![gid];
    // A user that the database does not have, of a container perhaps, is in no other group.
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    if let Some(name) = user.and_then(|user| std::ffi::CString::new(user.name).ok()) {
        let more = getgrouplist(&name, Gid::from_raw(gid)).unwrap_or_default();
        groups.extend(more.into_iter().map(Gid::as_raw));
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}
