//! What is written, and what is left alone, in a folder where somebody else may write.

use std::ffi::OsStr;
use std::fs::{Permissions, create_dir, read, read_dir, rename, set_permissions};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tedge_file::{Attributes, FileError, Folder, Problem, check_writable, create};
use tempfile::tempdir;

const NOBODY: u32 = 65534;

fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    tedge_file::write(path, content, Attributes::Keep { mode: 0o644 })
}

#[test]
fn what_links_of_ones_own_lead_to_is_replaced() {
    let dir = tempdir().unwrap();
    let [link, other, file] = ["link", "other", "file"].map(|name| dir.path().join(name));
    symlink("other", &link).unwrap();
    symlink(&file, &other).unwrap();
    write(&link, b"new").unwrap();
    check_writable(&link).unwrap();
    write(&link, b"newer").unwrap();
    assert_eq!(read(&file).unwrap(), b"newer");
    assert!(other.is_symlink() && link.is_symlink());
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o644);
    assert_eq!(read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn a_file_keeps_its_owner_and_mode_unless_told_otherwise() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    write(&file, b"old").unwrap();
    set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let is_root = chown(&file, Some(NOBODY), Some(NOBODY)).is_ok();
    let before = file.metadata().unwrap();
    write(&file, b"new").unwrap();
    let after = file.metadata().unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_eq!(after.uid() == NOBODY, is_root);
    let private = Attributes::Set {
        mode: 0o600,
        owner: None,
    };
    tedge_file::write(&file, b"newer", private).unwrap();
    let after = file.metadata().unwrap();
    assert_eq!(after.mode() & 0o777, 0o600);
    assert_eq!(after.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn a_new_file_replaces_none() {
    let dir = tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| dir.path().join(name));
    create(&file, b"first", 0o600).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    symlink("file", &link).unwrap();
    for path in [&file, &link] {
        let refused = create(path, b"second", 0o600).unwrap_err();
        assert!(
            matches!(refused.problem(), Problem::System(error)
                if error.kind() == std::io::ErrorKind::AlreadyExists),
            "{refused}"
        );
    }
    assert_eq!(read(&file).unwrap(), b"first");
    assert_eq!(read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn what_is_no_regular_file_is_not_written_to() {
    let dir = tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for path in [&fifo, dir.path(), Path::new("/dev/full"), Path::new("/")] {
        let refused = write(path, b"new").unwrap_err();
        assert!(matches!(refused.problem(), Problem::Kind(_)), "{refused}");
        check_writable(path).unwrap_err();
    }
    let missing = write(&dir.path().join("none/file"), b"new").unwrap_err();
    assert!(missing.is_not_found());
    assert_eq!(missing.component(), dir.path().join("none"));
}

#[test]
fn what_was_passed_to_the_process_is_written_to() {
    let (mut reader, writer) = rustix::pipe::pipe()
        .map(|(read, write)| (std::fs::File::from(read), std::fs::File::from(write)))
        .unwrap();
    let path = format!("/dev/fd/{}", writer.as_raw_fd());
    check_writable(Path::new(&path)).unwrap();
    let reading = std::thread::spawn(move || {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map(|_| content)
    });
    write(Path::new(&path), &vec![b'x'; 200_000]).unwrap();
    drop(writer);
    assert_eq!(reading.join().unwrap().unwrap().len(), 200_000);
}

#[test]
fn no_link_of_another_user_leads_to_a_file() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    create_dir(path.join("secret")).unwrap();
    let file = path.join("secret/x.pem");
    write(&file, b"old").unwrap();
    for (target, link, name) in [
        ("secret", "device-certs", "device-certs/x.pem"),
        ("secret/x.pem", "x.pem", "x.pem"),
    ] {
        symlink(target, path.join(link)).unwrap();
        if lchown(path.join(link), Some(NOBODY), None).is_err() {
            println!("skipped: giving away a link takes root");
            return;
        }
        for refused in [
            write(&path.join(name), b"new"),
            check_writable(&path.join(name)),
            create(&path.join(name), b"new", 0o600),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused.problem(), Problem::Link { owner: NOBODY }));
            assert_eq!(refused.component(), path.join(link));
        }
    }
    assert_eq!(read(&file).unwrap(), b"old");
}

/// Root's own link says nothing where another user may rename it.
#[test]
fn a_link_in_another_users_folder_leads_to_no_file() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    let file = path.join("precious");
    write(&file, b"old").unwrap();
    let theirs = path.join("theirs");
    create_dir(&theirs).unwrap();
    let link = theirs.join("x.renewal");
    symlink(&file, &link).unwrap();
    if lchown(&theirs, Some(NOBODY), None).is_err() {
        println!("skipped: giving away a folder takes root");
        return;
    }
    let own = Attributes::Set {
        mode: 0o644,
        owner: None,
    };
    for refused in [
        tedge_file::write(&link, b"new", own),
        write(&link, b"new"),
        create(&link, b"new", 0o600),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused.problem(), Problem::MovedLink { owner: NOBODY }),
            "{refused}"
        );
    }
    assert_eq!(read(&file).unwrap(), b"old");
    symlink(path.join("new"), theirs.join("y.renewal")).unwrap();
    let refused = create(&theirs.join("y.renewal"), b"new", 0o600).unwrap_err();
    assert!(
        matches!(refused.problem(), Problem::MovedLink { owner: NOBODY }),
        "{refused}"
    );
    // The other way round, a link of root's in a folder of root's, it leads there.
    std::fs::remove_file(&link).unwrap();
    let link = path.join("link");
    symlink(&file, &link).unwrap();
    tedge_file::write(&link, b"newer", own).unwrap();
    assert_eq!(read(&file).unwrap(), b"newer");
}

/// Between any two steps, the folder may become a link and a folder again.
#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    let [secret, own, link, used] =
        ["secret", "own", "link", "device-certs"].map(|name| path.join(name));
    create_dir(&secret).unwrap();
    create_dir(&own).unwrap();
    symlink("secret", &link).unwrap();
    if lchown(&link, Some(NOBODY), None).is_err() {
        println!("skipped: giving away a link takes root");
        return;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for what in [&own, &link] {
                    rename(what, &used).unwrap();
                    rename(&used, what).unwrap();
                }
            }
        });
        let mut written = 0;
        while written < 100 {
            written += u32::from(write(&used.join("x.pem"), b"new").is_ok());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(read_dir(&secret).unwrap().count(), 0);
}

#[test]
fn folders_are_made_where_no_link_of_another_user_leads() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    let made = Folder::make(&path.join("a/b/c"), 0o700).unwrap();
    assert_eq!(path.join("a").metadata().unwrap().mode() & 0o777, 0o700);
    // As it is there, it is opened.
    Folder::make(&path.join("a/b/c"), 0o755).unwrap();
    assert_eq!(path.join("a/b/c").metadata().unwrap().mode() & 0o777, 0o700);

    made.link("x".as_ref(), Path::new("/nowhere")).unwrap();
    made.link("y".as_ref(), Path::new("/dev")).unwrap();
    assert_eq!(made.names(2).unwrap(), ["x", "y"]);
    let many = made.names(1).unwrap_err();
    assert!(matches!(many.problem(), Problem::TooMany { limit: 1 }));
    made.link("x".as_ref(), Path::new("/dev")).unwrap_err();
    // It is the link that goes, also while another folder has the name.
    rename(path.join("a"), path.join("z")).unwrap();
    create_dir(path.join("a")).unwrap();
    for name in ["x", "y"] {
        made.remove(name.as_ref()).unwrap();
        assert!(made.remove(name.as_ref()).unwrap_err().is_not_found());
    }
    assert_eq!(made.names(0).unwrap(), [""; 0]);

    let file = path.join("file");
    write(&file, b"").unwrap();
    Folder::make(&file, 0o755).unwrap_err();
    Folder::make(&file.join("below"), 0o755).unwrap_err();
    create_dir(path.join("secret")).unwrap();
    for (target, name) in [("secret", "link"), ("secret/none", "none")] {
        symlink(target, path.join(name)).unwrap();
        Folder::make(&path.join(name), 0o755).unwrap();
        Folder::make(&path.join(name).join("own"), 0o755).unwrap();
        if lchown(path.join(name), Some(NOBODY), None).is_err() {
            println!("skipped: giving away a link takes root");
            return;
        }
        for below in ["", "others"] {
            let refused = Folder::make(&path.join(name).join(below), 0o755).unwrap_err();
            assert!(matches!(refused.problem(), Problem::Link { owner: NOBODY }));
        }
    }
    assert!(!path.join("secret/others").exists());
}

/// A name that is a path would lead out of the folder that was looked at.
#[test]
fn an_entry_of_a_folder_is_no_path() {
    let dir = tempdir().unwrap();
    let inner = dir.path().join("inner");
    create_dir(&inner).unwrap();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, "").unwrap();
    let folder = Folder::open(&inner).unwrap();
    let name = OsStr::new("../outside");
    folder.remove(name).unwrap_err();
    assert!(outside.exists());
    let linked = OsStr::new("../linked");
    folder.link(linked, Path::new("/")).unwrap_err();
    assert!(dir.path().join("linked").symlink_metadata().is_err());
}
