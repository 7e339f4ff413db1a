//! Who is at the other end of a connection. What the policy needs of the user database is looked up here; the
//! policy itself decides by what it is given.

use std::collections::{HashMap, HashSet};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use tedge_p11_config::{Account, Peer, Policy, UserEntry, look_up_user};

/// Tells peers, and remembers users for a while: looking them up reads files.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: Mutex<Known>,
    told: Mutex<HashSet<u32>>,
}

#[derive(Debug, Default)]
struct Known {
    /// By uid and gid.
    users: HashMap<(u32, u32), User>,
}

#[derive(Clone, Debug)]
struct User {
    since: Instant,
    with_groups: bool,
    entry: UserEntry,
}

impl Peers {
    pub(crate) fn identify(&self, stream: &UnixStream, policy: &Policy) -> std::io::Result<Peer> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        let with_groups = policy.goes_by_groups();
        let remembered = self.known().remembered(uid, gid, with_groups);
        let entry = remembered.unwrap_or_else(|| {
            // Without a lock: a user database on the network keeps only its own users waiting.
            let entry = look_up_user(uid, gid, with_groups);
            self.known().remember(uid, gid, with_groups, entry.clone());
            entry
        });
        let account = policy.account(uid, entry.is_known);
        if account == Account::Nameless {
            self.tell(uid);
        }
        Ok(Peer {
            pid,
            uid,
            account,
            groups: entry.groups,
        })
    }

    /// Says once of a uid that it shares its limits: an operator whose containers have such uids must know.
    fn tell(&self, uid: u32) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD || !told.insert(uid) {
            return;
        }
        let is_last = told.len() == MAX_TOLD;
        drop(told);
        let others = if is_last {
            "; others that do are not told any more"
        } else {
            ""
        };
        log::warn!(
            PEER_UID = uid;
            "uid {uid} is in no user database, so that it shares the limits of all such uids; a rule with \
             uid = {uid} gives it its own{others}"
        );
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remembered(&self, uid: u32, gid: u32, with_groups: bool) -> Option<UserEntry> {
        let user = self.users.get(&(uid, gid))?;
        let will_do = user.since.elapsed() < REMEMBERED && (user.with_groups || !with_groups);
        will_do.then(|| user.entry.clone())
    }

    fn remember(&mut self, uid: u32, gid: u32, with_groups: bool, entry: UserEntry) {
        if self.users.len() >= MAX_REMEMBERED {
            // Uids without a user are cheap: whoever has many must not have others forgotten.
            self.users.retain(|_, user| user.entry.is_known);
        }
        if self.users.len() >= MAX_REMEMBERED {
            self.users.clear();
        }
        let user = User {
            since: Instant::now(),
            with_groups,
            entry,
        };
        self.users.insert((uid, gid), user);
    }
}

/// Until a change in the user database is seen.
const REMEMBERED: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 1024;
/// Uids without a user that are named in the log.
const MAX_TOLD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_uids_without_a_user_have_no_user_forgotten() {
        let mut known = Known::default();
        let entry = |is_known| UserEntry {
            is_known,
            groups: [0].into(),
        };
        known.remember(1, 1, true, entry(true));
        for uid in (100_000..).take(3 * MAX_REMEMBERED) {
            known.remember(uid, 1, true, entry(false));
        }
        assert!(known.remembered(1, 1, true).is_some());
        assert!(known.users.len() <= MAX_REMEMBERED);
        known.remember(2, 2, false, entry(true));
        assert!(known.remembered(2, 2, false).is_some());
        assert!(known.remembered(2, 2, true).is_none());
    }
}
