//! Who is at the other end of a connection.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::{Gid, Uid, User, getgrouplist};

/// A client by the credentials that it had when it connected (SO_PEERCRED).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// 0 if the client is in a PID namespace that this process can't see into.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    /// Its primary group, and those that the user database has its user in. The process's own
    /// supplementary groups can be read only by its pid, which may be another process's by then.
    pub(crate) groups: Arc<[u32]>,
}

/// Tells peers, and remembers the groups of users for a while: looking them up reads files.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// By uid and gid.
    groups: HashMap<(u32, u32), Remembered>,
}

impl Peers {
    pub(crate) fn identify(&mut self, stream: &UnixStream) -> std::io::Result<Peer> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        let (uid, gid) = (credentials.uid(), credentials.gid());
        Ok(Peer {
            pid: credentials.pid(),
            uid,
            groups: self.groups(uid, gid),
        })
    }

    fn groups(&mut self, uid: u32, gid: u32) -> Arc<[u32]> {
        if let Some((since, groups)) = self.groups.get(&(uid, gid)) {
            if since.elapsed() < REMEMBERED {
                return groups.clone();
            }
        }
        if self.groups.len() >= MAX_REMEMBERED {
            self.groups.clear();
        }
        let groups: Arc<[u32]> = look_up(uid, gid).into();
        self.groups
            .insert((uid, gid), (Instant::now(), groups.clone()));
        groups
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

/// Groups, and when they were looked up.
type Remembered = (Instant, Arc<[u32]>);

/// Until a change in the user database is seen.
const REMEMBERED: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 1024;
