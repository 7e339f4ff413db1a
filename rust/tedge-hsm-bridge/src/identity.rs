//! What who watches wants to know of the device's certificate, beside whether it works: when it ends, and how its renewal and
//! the replacement of its key go. `tedge-hsm renew` writes that down beside the certificate.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tedge_file::printable;
use tedge_p11_client::{certificate_end, read_certificates};

/// As far as it is known. Times are seconds of the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) ends: Option<u64>,
    pub(crate) renewed: Option<u64>,
    /// Why the last renewal failed, if it did.
    pub(crate) renewal_error: Option<String>,
    /// The step that the replacement of the key is at.
    pub(crate) rotation: Option<String>,
}

#[derive(Default, Deserialize)]
struct Renewal {
    renewed: Option<u64>,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
struct Rotation {
    step: Option<String>,
}

/// Reads what is beside the certificate `cert`.
pub(crate) fn look(cert: &Path) -> Identity {
    let chain = read_certificates(cert).unwrap_or_default();
    let renewal: Renewal = beside(cert, ".renewal");
    let rotation: Rotation = beside(cert, ".rotation");
    Identity {
        ends: chain.first().and_then(certificate_end),
        renewed: renewal.renewed,
        renewal_error: renewal.error.as_deref().map(cut),
        rotation: rotation.step.as_deref().map(cut),
    }
}

/// Whoever wrote it: it is told, and nothing is done by it.
fn beside<T: Default + DeserializeOwned>(cert: &Path, suffix: &str) -> T {
    let mut path = cert.as_os_str().to_owned();
    path.push(suffix);
    let content = tedge_file::read(Path::new(&path), MAX_RECORD).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

fn cut(text: &str) -> String {
    printable(&text.chars().take(MAX_TEXT).collect::<String>())
}

const MAX_RECORD: usize = 65_536;
/// Characters, as of all reasons in the health message.
const MAX_TEXT: usize = 512;
