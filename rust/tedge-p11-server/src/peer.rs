//! Who is at the other end of a connection.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use tedge_p11_config::Peer;

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
        let groups: Arc<[u32]> = Peer::groups_of(uid, gid).into();
        self.groups
            .insert((uid, gid), (Instant::now(), groups.clone()));
        groups
    }
}

/// Groups, and when they were looked up.
type Remembered = (Instant, Arc<[u32]>);

/// Until a change in the user database is seen.
const REMEMBERED: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 1024;
