//! Files that are read and written anew, in a folder where somebody else may rename them.

use std::fs::{Permissions, write};
use std::fs::{create_dir, read_dir, read_to_string, remove_file, rename, set_permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use tedge_file::{Attributes, Edited, Problem};
use tempfile::tempdir;

const NOBODY: u32 = 65534;
const LIMIT: usize = 1000;

#[test]
fn another_text_takes_the_place_of_the_one_that_was_read() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("settings/file");
    // Neither the folder nor the file is there.
    let file = Edited::read(&path, LIMIT).unwrap();
    assert_eq!(file.text(), "");
    create_dir(dir.path().join("settings")).unwrap();
    file.replace("first", 0o640).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
    let file = Edited::read(&path, LIMIT).unwrap();
    assert_eq!(file.text(), "first");
    file.replace("second", 0o600).unwrap();
    assert_eq!(read_to_string(&path).unwrap(), "second");
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
    write(&path, vec![b'x'; LIMIT + 1]).unwrap();
    Edited::read(&path, LIMIT).unwrap_err();
}

#[test]
fn what_others_did_meanwhile_is_not_undone() {
    let dir = tempdir().unwrap();
    let [path, away] = ["file", "away"].map(|name| dir.path().join(name));
    write(&path, "first").unwrap();
    let edit = || Edited::read(&path, LIMIT).unwrap();
    let refused = |file: Edited| {
        let error = file.replace("mine", 0o644).unwrap_err();
        assert!(matches!(error.problem(), Problem::Changed), "{error}");
    };
    // It has gone: no file of this user's has the text of the one that was read.
    let file = edit();
    rename(&path, &away).unwrap();
    refused(file);
    assert_eq!(read_dir(dir.path()).unwrap().count(), 1);
    // Another has its name.
    rename(&away, &path).unwrap();
    let file = edit();
    rename(&path, &away).unwrap();
    write(&path, "other").unwrap();
    refused(file);
    assert_eq!(read_to_string(&path).unwrap(), "other");
    // There was none, and there is one by now.
    remove_file(&path).unwrap();
    let file = edit();
    write(&path, "other").unwrap();
    file.replace("mine", 0o644).unwrap_err();
    assert_eq!(read_to_string(&path).unwrap(), "other");
}

#[test]
fn root_makes_no_file_of_its_own_in_a_folder_of_others() {
    let dir = tempdir().unwrap();
    if chown(dir.path(), Some(NOBODY), Some(NOBODY)).is_err() {
        println!("skipped: only root gives files to others");
        return;
    }
    let [path, other] = ["file", "other"].map(|name| dir.path().join(name));
    Edited::read(&path, LIMIT)
        .unwrap()
        .replace("text", 0o644)
        .unwrap();
    tedge_file::write(&other, b"text", Attributes::Keep { mode: 0o644 }).unwrap();
    for path in [&path, &other] {
        assert_eq!(path.metadata().unwrap().uid(), NOBODY);
    }
    // Nor over one of root's that was given this name.
    chown(&other, Some(0), Some(0)).unwrap();
    tedge_file::write(&other, b"text", Attributes::Keep { mode: 0o644 }).unwrap();
    assert_eq!(other.metadata().unwrap().uid(), NOBODY);
    // Root's file stays root's where what it says was read, as does what is asked for.
    chown(&path, Some(0), Some(0)).unwrap();
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    Edited::read(&path, LIMIT)
        .unwrap()
        .replace("more", 0o644)
        .unwrap();
    let own = Attributes::Set {
        mode: 0o644,
        owner: None,
    };
    tedge_file::write(&other, b"more", own).unwrap();
    for path in [&path, &other] {
        assert_eq!(path.metadata().unwrap().uid(), 0);
    }
}
