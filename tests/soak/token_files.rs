//! SoftHSM2's tokens, as they were.

use std::fs;
use std::path::PathBuf;

use support::Hsm;

/// SoftHSM2 writes a token's file in place at each login: a crash just then leaves it empty, and the
/// token is lost. That is no fault of the signer's, and no other token is a file.
pub struct TokenFiles {
    files: Vec<(PathBuf, Vec<u8>)>,
    pub restored: usize,
}

impl TokenFiles {
    pub fn read(hsm: &Hsm) -> Self {
        let tokens = fs::read_dir(hsm.file("softhsm/tokens")).unwrap();
        let files = tokens
            .map(|token| token.unwrap().path().join("token.object"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        Self { files, restored: 0 }
    }

    /// Puts back what is broken, while nobody uses it.
    pub fn restore(&mut self) {
        for (path, content) in &self.files {
            if fs::metadata(path).is_ok_and(|file| file.len() < content.len() as u64) {
                fs::write(path, content).unwrap();
                self.restored += 1;
            }
        }
    }
}
