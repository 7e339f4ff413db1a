//! Programs of Debian 13, such as OpenSSL 3.5, on whatever this machine is: out of a root file system, by its own loader.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repository;

/// Debian 13's openssl, mosquitto and python3.
pub struct Debian13 {
    root: PathBuf,
}

impl Debian13 {
    /// Makes the root file system if the cache has none; where that can't be, says `skipped` on standard output.
    pub fn find() -> Option<Self> {
        let output = Command::new(repository().join("tests/debian-13"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.code() {
            Some(0) => Some(Self { root: said.into() }),
            Some(77) => {
                println!("{}", said.lines().last().unwrap_or_default());
                None
            }
            _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// A program, such as `usr/bin/openssl`.
    pub fn command(&self, program: &str) -> Command {
        let libraries = std::fs::read_dir(self.root.join("usr/lib")).unwrap();
        let mut folders = libraries.map(|entry| entry.unwrap().path());
        let (loader, libraries) = folders
            .find_map(|folder| Some((loader(&folder)?, folder)))
            .unwrap();
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(libraries);
        command.arg(self.root.join(program));
        // It has other providers than this machine's.
        command.env("OPENSSL_CONF", self.root.join("etc/ssl/openssl.cnf"));
        // Python has its modules by where it is, which is the loader's folder here.
        command.env("PYTHONHOME", self.root.join("usr"));
        command
    }
}

/// The dynamic loader in a folder of libraries.
fn loader(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?;
    let mut files = files.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ld-linux") && name.contains(".so.")
    })
}
