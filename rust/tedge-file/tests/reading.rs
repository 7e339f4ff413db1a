//! What is read, and what is not, in a folder where somebody else may write.

use std::fs::{create_dir, write};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tedge_file::{FileError, FileKind, Problem, read, read_folder, read_text};
use tempfile::tempdir;

const NOBODY: u32 = 65534;

#[test]
fn a_file_is_read_through_links_of_ones_own() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    create_dir(path.join("folder")).unwrap();
    write(path.join("folder/file"), "text").unwrap();
    symlink("folder", path.join("link")).unwrap();
    symlink(path.join("link/../link/file"), path.join("file")).unwrap();
    assert_eq!(read(&path.join("file"), 4).unwrap(), b"text");
    assert_eq!(read_text(&path.join("link/./file"), 4).unwrap(), "text");
    symlink("loop", path.join("loop")).unwrap();
    let endless = read(&path.join("loop"), 4).unwrap_err();
    assert!(
        matches!(endless.problem(), Problem::TooManyLinks),
        "{endless}"
    );
}

#[test]
fn a_component_that_is_wrong_is_named() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    write(path.join("file"), "text").unwrap();
    let missing = read(&path.join("none/file"), 4).unwrap_err();
    assert!(missing.is_not_found());
    let named = format!("{}: No such file", path.join("none").display());
    assert!(missing.to_string().starts_with(&named), "{missing}");
    let missing = read(&path.join("none"), 4).unwrap_err();
    assert!(missing.to_string().starts_with("No such file"), "{missing}");
    let no_folder = read(&path.join("file/file"), 4).unwrap_err();
    assert_eq!(no_folder.component(), path.join("file"));
    assert!(!no_folder.is_not_found());
}

#[test]
fn a_link_of_another_user_is_not_followed() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    create_dir(path.join("secret")).unwrap();
    write(path.join("secret/file"), "text").unwrap();
    for (target, link, file) in [
        ("secret", "folder", "folder/file"),
        ("secret/file", "file", "file"),
    ] {
        symlink(target, path.join(link)).unwrap();
        if lchown(path.join(link), Some(NOBODY), None).is_err() {
            println!("skipped: giving away a link takes root");
            return;
        }
        let refused = read(&path.join(file), 4).unwrap_err();
        assert!(matches!(refused.problem(), Problem::Link { owner: NOBODY }));
        assert_eq!(refused.component(), path.join(link));
        let text = refused.to_string();
        assert!(text.contains("is a symbolic link of user nobody"), "{text}");
        assert!(text.contains("which root does not follow"), "{text}");
        assert!(text.contains("or remove the link"), "{text}");
    }
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(path.join("socket")).unwrap();
    symlink("/dev/zero", path.join("link")).unwrap();
    for (file, expected) in [
        (path.join("fifo"), FileKind::Fifo),
        (path.join("socket"), FileKind::Socket),
        (path.to_owned(), FileKind::Folder),
        ("/".into(), FileKind::Folder),
        ("..".into(), FileKind::Folder),
        (path.join("link"), FileKind::Device),
        ("/dev/zero".into(), FileKind::Device),
    ] {
        let refused = read(&file, 4).unwrap_err();
        assert!(
            matches!(refused.problem(), Problem::Kind(kind) if *kind == expected),
            "{}: {refused}",
            file.display()
        );
    }
}

#[test]
fn a_file_has_a_largest_size() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file");
    write(&path, vec![b'x'; 10_000]).unwrap();
    assert_eq!(read(&path, 10_000).unwrap().len(), 10_000);
    let refused = read(&path, 9_999).unwrap_err();
    assert!(matches!(
        refused.problem(),
        Problem::TooLarge { limit: 9_999 }
    ));
}

#[test]
fn what_was_passed_to_the_process_is_read() {
    let of_pipe = |content: Vec<u8>| -> Result<Vec<u8>, FileError> {
        let (reader, mut writer) = rustix::pipe::pipe()
            .map(|(read, write)| (std::fs::File::from(read), std::fs::File::from(write)))
            .unwrap();
        // It ends with an error where the reader has had enough.
        let writing = std::thread::spawn(move || writer.write_all(&content));
        let content = read(Path::new(&format!("/dev/fd/{}", reader.as_raw_fd())), 5_000);
        drop(reader);
        let _ = writing.join().unwrap();
        content
    };
    assert_eq!(of_pipe(b"text".to_vec()).unwrap(), b"text");
    let endless = of_pipe(vec![0; 200_000]).unwrap_err();
    assert!(matches!(endless.problem(), Problem::TooLarge { .. }));
    let none = read(Path::new("/dev/fd/1000000"), 4).unwrap_err();
    assert!(none.is_not_found(), "{none}");
}

#[test]
fn of_a_folder_the_regular_files_are_read() {
    let dir = tempdir().unwrap();
    let path = dir.path();
    create_dir(path.join("certs")).unwrap();
    write(path.join("b"), "second").unwrap();
    write(path.join("certs/a"), "first").unwrap();
    symlink("../b", path.join("certs/b")).unwrap();
    symlink("/dev/zero", path.join("certs/c")).unwrap();
    symlink("certs", path.join("link")).unwrap();
    let files = read_folder(&path.join("link"), 11, |_, _| true).unwrap();
    let contents: Vec<_> = files.into_iter().map(|(_, content)| content).collect();
    assert_eq!(contents, [&b"first"[..], b"second"]);
    let refused = read_folder(&path.join("certs"), 10, |_, _| true).unwrap_err();
    assert!(matches!(refused.problem(), Problem::TooLarge { limit: 10 }));
    let refused = read_folder(&path.join("b"), 10, |_, _| true).unwrap_err();
    assert!(matches!(refused.problem(), Problem::NoFolder));
}
