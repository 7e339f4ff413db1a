//! Who is at the other end of a connection.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use tedge_p11_config::Peer;

/// Tells peers, and remembers the groups of users for a while: looking them up reads files.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// By uid and gid, since when.
    known: HashMap<(u32, u32), (Instant, Peer)>,
}

impl Peers {
    pub(crate) fn identify(&mut self, stream: &UnixStream) -> std::io::Result<Peer> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        if let Some((since, peer)) = self.known.get(&(uid, gid)) {
            if since.elapsed() < REMEMBERED {
                let mut peer = peer.clone();
                peer.pid = pid;
                return Ok(peer);
            }
        }
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        let peer = Peer::new(pid, uid, gid);
        self.known
            .insert((uid, gid), (Instant::now(), peer.clone()));
        Ok(peer)
    }
}

/// Until a change in the user database is seen.
const REMEMBERED: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 1024;
