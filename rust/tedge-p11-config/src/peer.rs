//! A client of the signer, as the policy sees it: plain data, looked up by who makes it.

use std::fmt;
use std::sync::Arc;

/// A client by the credentials that it had when it connected (SO_PEERCRED), and by what the user database says
/// of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// 0 if the client is in a PID namespace that this process can't see into.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    /// With whom it shares what a user may have.
    pub account: Account,
    /// Its primary group, and those that the user database has its user in; just the primary one where no rule
    /// asks for more. The process's own supplementary groups can be read only by its pid, which may be another
    /// process's by then.
    pub groups: Arc<[u32]>,
}

/// Whose limits, turns, log lines and guesses of PINs those of a client count among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Those of the user with this uid.
    User(u32),
    /// Those of all uids together that the user database does not know and no rule names. Such uids are cheap:
    /// who has a subordinate range (/etc/subuid) has 65,536 of them.
    Nameless,
}

impl Peer {
    /// A client of a user of this machine, with these groups, its primary one first.
    #[must_use]
    pub fn with_groups(pid: i32, uid: u32, groups: &[u32]) -> Self {
        Self {
            pid,
            uid,
            account: Account::User(uid),
            groups: groups.into(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} (pid {})", self.uid, self.pid)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Nameless => f.write_str("uids without a user"),
        }
    }
}
