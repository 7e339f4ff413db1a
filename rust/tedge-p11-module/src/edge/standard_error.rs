//! Standard error, which is the program's own: whether it takes text, and a line there that does the program no harm.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, write};
use rustix::stdio::stderr;
use rustix::termios::isatty;

/// The variable of systemd's by which a program knows that its standard error is the journal's (systemd.exec(5)).
pub(super) const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Device and inode of the connection to the journal.
static JOURNAL: OnceLock<Option<(u64, u64)>> = OnceLock::new();

/// Takes what [`JOURNAL_STREAM`] says.
pub(super) fn set_journal(value: Option<&OsStr>) {
    let _ = JOURNAL.set(value.and_then(|value| journal(value.as_bytes())));
}

/// Writes a line if it can be written at once, and to where people read. A program that was started without
/// standard error, or has closed it, has something else by this number: a connection, or a file of its own, that
/// gets no text.
pub(super) fn write_line(line: &str) {
    let descriptor = stderr();
    if takes_text(descriptor) && is_ready(descriptor) {
        without_sigpipe(|| {
            loop {
                // What is not written is lost: there is nobody else to tell.
                if !matches!(write(descriptor, line.as_bytes()), Err(Errno::INTR)) {
                    break;
                }
            }
        });
    }
}

/// A terminal, what is open for nothing but writing, as `2>` of a shell opens a file, a pipe or a device, and the
/// journal's connection. A file or device that a program has opened to work with it is open for reading as well.
fn takes_text(descriptor: BorrowedFd<'_>) -> bool {
    let (Ok(stat), Ok(flags)) = (fstat(descriptor), fcntl_getfl(descriptor)) else {
        return false;
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => {
            let own = Some((stat.st_dev, stat.st_ino));
            JOURNAL.get().is_some_and(|journal| *journal == own)
        }
        FileType::CharacterDevice if isatty(descriptor) => true,
        FileType::RegularFile | FileType::Fifo | FileType::CharacterDevice => {
            flags & OFlags::RWMODE == OFlags::WRONLY
        }
        _ => false,
    }
}

/// Whether writing does not wait, and somebody reads. A pipe that is ready takes a line of this length whole.
fn is_ready(descriptor: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(descriptor, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready == 1) && fds[0].revents() == PollFlags::OUT
}

/// Runs something that may write to a pipe whose reader has gone, which would end a program that has not said
/// otherwise: the signal is blocked in this thread meanwhile, and taken back unless it was there before.
fn without_sigpipe(does: impl FnOnce()) {
    let mut sigpipe = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets live here. sigemptyset and sigpending make them, and are checked by nobody since they have no
    // way to fail; pthread_sigmask makes `before`, unless it fails.
    unsafe {
        libc::sigemptyset(sigpipe.as_mut_ptr());
        libc::sigaddset(sigpipe.as_mut_ptr(), libc::SIGPIPE);
        let was_pending = is_pending();
        if libc::pthread_sigmask(libc::SIG_BLOCK, sigpipe.as_ptr(), before.as_mut_ptr()) != 0 {
            return;
        }
        does();
        if !was_pending && is_pending() {
            let at_once = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            libc::sigtimedwait(sigpipe.as_ptr(), std::ptr::null_mut(), &raw const at_once);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
}

/// Whether SIGPIPE waits for this thread or the process.
fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set lives here, and sigpending has made it if it says so.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0
            && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1
    }
}

/// Two decimal numbers with a colon between.
fn journal(value: &[u8]) -> Option<(u64, u64)> {
    let (device, inode) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_two_numbers() {
        assert_eq!(journal(b"8:12345"), Some((8, 12345)));
        for other in [&b""[..], b"8", b"8:", b":5", b"8:5:3", b"8:x", b"\xff:5"] {
            assert_eq!(journal(other), None, "{other:?}");
        }
    }
}
