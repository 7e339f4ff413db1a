//! The UNIX socket, made here or passed by systemd.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::umask;
use tedge_file::Folder;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    /// The socket file made here, with the lock that keeps a second signer from replacing it.
    own: Option<(PathBuf, File)>,
}

impl Listener {
    /// Takes the socket that systemd passed (LISTEN_FDS), or makes one at `path`, mode 0660. The
    /// file of a signer that is gone is replaced, that of a live one is not.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(socket) = ListenFd::from_env().take_unix_listener(0)? {
            log::info!("listening on the socket that systemd passed");
            return Ok(Self { socket, own: None });
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        if let Some(dir) = dir {
            Folder::make(dir, 0o755).map_err(io::Error::other)?;
        }
        let lock = lock(path)?;
        remove_stale(path)?;
        // The socket must at no time be open to others. No other thread runs yet.
        let before = umask(Mode::from_raw_mode(0o117));
        let socket = UnixListener::bind(path);
        umask(before);
        let socket = socket?;
        log::info!("listening on {}", path.display());
        Ok(Self {
            socket,
            own: Some((path.to_owned(), lock)),
        })
    }

    /// The socket, and its file, which must live as long as it is listened on.
    pub(crate) fn into_parts(self) -> (UnixListener, OwnSocketFile) {
        (self.socket, OwnSocketFile(self.own))
    }
}

/// Removes the socket's file when dropped, if it was made here.
#[derive(Debug)]
pub(crate) struct OwnSocketFile(Option<(PathBuf, File)>);

impl Drop for OwnSocketFile {
    fn drop(&mut self) {
        if let Some((path, _lock)) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Two signers that start at once must not take each other's fresh socket for a stale one.
fn lock(socket: &Path) -> io::Result<File> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    // No link is followed to somebody else's file, and nobody else can hold the lock.
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => in_use(),
        _ => error.into(),
    })?;
    Ok(file)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is a file that is not a socket; it is left as it is",
            ));
        }
        Ok(_) => {}
    }
    // A signer that does not lock, thin-edge.io's for one, shows by answering.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&client, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => {
            log::info!("replacing the socket of a signer that is gone");
            std::fs::remove_file(path)
        }
        Err(Errno::NOENT) => Ok(()),
        // AGAIN: it is there, with more clients than it accepts.
        Ok(()) | Err(Errno::AGAIN) => Err(in_use()),
        Err(error) => Err(error.into()),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another signer is listening on it")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/dir/socket");
        let live = Listener::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = Listener::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);

        drop(live); // without removing its file, as a crash would
        assert!(path.exists());
        Listener::open(&path).unwrap();
    }

    #[test]
    fn a_live_socket_without_a_lock_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _theirs = UnixListener::bind(&path).unwrap();
        let error = Listener::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn another_kind_of_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        std::fs::write(&path, "precious").unwrap();
        Listener::open(&path).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
