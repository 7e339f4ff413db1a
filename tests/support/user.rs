//! Threads that are other users, as the signer sees them: SO_PEERCRED tells who the connecting thread was.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::{Hsm, Signer};

/// Whether threads here may be other users; if not, says `skipped` on standard output.
pub fn can_be_others() -> bool {
    let can = rustix::process::geteuid().is_root();
    if !can {
        println!("skipped: becoming another user takes root");
    }
    can
}

/// This thread is user `uid` from now on, with a group of the same number and no other.
pub fn become_user(uid: u32) {
    become_member(uid, &[]);
}

/// The same, with more groups.
pub fn become_member(uid: u32, groups: &[u32]) {
    let gid = Some(Gid::from_raw(uid));
    let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups).unwrap();
    set_thread_res_gid(gid, gid, gid).unwrap();
    let uid = Some(Uid::from_raw(uid));
    set_thread_res_uid(uid, uid, uid).unwrap();
}

/// Runs `what` as user `uid`, and returns its result.
pub fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            become_user(uid);
            what()
        });
        thread.join().unwrap()
    })
}

/// Lets every user open the signer's socket.
pub fn open_to_all(hsm: &Hsm, signer: &Signer) {
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(hsm.dir.path(), 0o755);
    open(signer.socket(), 0o666);
}

/// How many different PINs of one user a signer compares in that time, the right ones not counted: two, and one more
/// after 4, 12, 28 seconds and so on.
pub fn most_guesses(time: Duration) -> usize {
    let seconds = time.as_secs() + 1;
    2 + (1..20)
        .filter(|n| 4 * ((1_u64 << n) - 1) <= seconds)
        .count()
}
