//! The certificate that is installed on the device: where a URI leaves several keys, it tells which one is meant.
//!
//! While a key is being replaced there are two of them, and thin-edge.io's clients send no certificate along. Who may
//! write the file chooses among keys that the URI leaves anyway; a rule for the key is asked afterwards.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64ct::{Base64, Encoding as _};
use der::{Reader as _, SliceReader};
use tedge_file::{MAX_CERTIFICATES, Opened};
use tedge_p11_protocol::PublicKey;

use crate::lock::lock;
use crate::unclear::Unclear;
use crate::x509::Certificate;

/// The file with the installed certificate, and what was in it when it was read last.
#[derive(Debug, Default)]
pub(crate) struct Installed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    path: Option<PathBuf>,
    read: Option<(Identity, Found)>,
}

/// What the file says.
pub(crate) type Found = Result<PublicKey, Unclear>;

impl Installed {
    /// From now on, the certificate is in the file `path`.
    pub(crate) fn set(&self, path: Option<PathBuf>) {
        let mut state = lock(&self.0);
        if state.path != path {
            *state = State { path, read: None };
        }
    }

    /// Of keys with these public keys, which one is meant: its place.
    pub(crate) fn choose(&self, found: &Found, keys: &[PublicKey]) -> Result<usize, Unclear> {
        let wanted = found.as_ref().map_err(Clone::clone)?;
        let path = || lock(&self.0).path.clone().unwrap_or_default();
        let keys = keys.iter().enumerate();
        let mut meant = keys.filter(|(_, key)| key.raw() == wanted.raw());
        match (meant.next(), meant.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => Err(Unclear::OfNone(path())),
            (Some(_), Some(_)) => Err(Unclear::OfSeveral(path())),
        }
    }

    /// The public key of the certificate that is there now. A file that was not replaced since is not read again.
    pub(crate) fn public_key(&self) -> Found {
        let mut state = lock(&self.0);
        let path = state.path.clone().ok_or(Unclear::NotConfigured)?;
        let file = match tedge_file::open(&path) {
            Ok(file) => file,
            Err(error) => {
                state.read = None;
                return Err(Unclear::Unreadable(format!(
                    "cannot read {}: {error}",
                    path.display()
                )));
            }
        };
        let identity = Identity::of(file.metadata());
        if let Some((known, found)) = &state.read {
            if *known == identity {
                return found.clone();
            }
        }
        let found = read(file, &path);
        state.read = Some((identity, found.clone()));
        found
    }
}

/// By what a file is known that was neither replaced nor written to.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

fn read(file: Opened, path: &Path) -> Found {
    let mut content = Vec::new();
    file.read_into(&mut content, MAX_CERTIFICATES)
        .map_err(|error| Unclear::Unreadable(format!("cannot read {}: {error}", path.display())))?;
    first_certificate(&content)
        .and_then(|der| Certificate::from_der(&der).ok())
        .map(|certificate| certificate.public_key)
        .ok_or_else(|| {
            Unclear::Unreadable(format!(
                "{} does not begin with an X.509 certificate of a key that is known",
                path.display()
            ))
        })
}

/// DER of the first certificate in PEM or DER.
fn first_certificate(content: &[u8]) -> Option<Vec<u8>> {
    let decoded = if content.first() == Some(&SEQUENCE) {
        content.to_vec()
    } else {
        let text = String::from_utf8_lossy(content);
        let labels = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
        let begin = |label| {
            let line = format!("-----BEGIN {label}-----");
            Some((text.find(&line)? + line.len(), label))
        };
        let (at, label) = labels.into_iter().filter_map(begin).min()?;
        let (body, _) = text[at..].split_once(&format!("-----END {label}-----"))?;
        let body: String = body.split_ascii_whitespace().collect();
        Base64::decode_vec(&body).ok()?
    };
    // OpenSSL's TRUSTED CERTIFICATE has more behind it, a file of DER its issuers.
    let mut reader = SliceReader::new(&decoded).ok()?;
    reader.tlv_bytes().ok().map(<[u8]>::to_vec)
}

/// What DER of a certificate begins with.
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_replaced_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.pem");
        let installed = Installed::default();
        assert_eq!(installed.public_key(), Err(Unclear::NotConfigured));
        installed.set(Some(path.clone()));
        let unreadable = |found: Found| match found {
            Err(Unclear::Unreadable(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(unreadable(installed.public_key()).contains("No such file"));
        for (content, what) in [
            (&b""[..], "empty"),
            (b"-----BEGIN CERTIFICATE-----\n", "cut"),
        ] {
            fs::write(&path, content).unwrap();
            let why = unreadable(installed.public_key());
            assert!(why.contains("does not begin with"), "{what}: {why}");
        }
        fs::write(&path, FIRST).unwrap();
        let first = installed.public_key().unwrap();
        assert_eq!(first.raw()[1..4], [0xcf, 0xb2, 0x74]);
        // Of the same size, by rename.
        let other = dir.path().join("other.pem");
        fs::write(&other, FIRST.replace("ydFUK", "ydFUL")).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(installed.public_key().unwrap(), first);
        // With Windows' ends of lines, and text in front.
        fs::write(&path, format!("Bag\n{FIRST}").replace('\n', "\r\n")).unwrap();
        assert_eq!(installed.public_key().unwrap(), first);
        let der = first_certificate(FIRST.as_bytes()).unwrap();
        fs::write(&path, [&der[..], &der[..]].concat()).unwrap();
        assert_eq!(installed.public_key().unwrap(), first);
    }

    #[test]
    fn what_is_no_file_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let installed = Installed::default();
        installed.set(Some(path));
        assert!(installed.public_key().is_err());
    }

    const FIRST: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbjCCARWgAwIBAgIUVtMf3Omb/Zj3445xC3W2ffAVasAwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYTAgFw0yNjExMjcxMTQ2NDBaGA8yMTI2MTEwMzExNDY0MFow
DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABM+ydFUKMeBZ
Gdz8urSTj3wXfm+J4pW0UI0mDqGnr5nMyc522q1jQ4HLj8zFigVaq6WnsHis6LeC
9tprpup42WKjUzBRMB0GA1UdDgQWBBS+S6mooLV3BdqRh5V1dZfHSgAbtTAfBgNV
HSMEGDAWgBS+S6mooLV3BdqRh5V1dZfHSgAbtTAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIEEQLfClg5Hz6i2WE3LffVSfPeLDyC8Z+DiY8b9w5tMN
AiAecpuVMkuof16MmnEWTc+7BQchey3lXmVMsfC/KJSzPg==
-----END CERTIFICATE-----
";
}
