//! A Kryoptic, and a signer on it.

use std::path::PathBuf;

use support::openssl::Ca;
use support::{Hsm, Kind, Signer, succeed};

/// Each type of key with its scheme, and the bytes of public keys and signatures (FIPS 204, table 2).
pub const ML_DSA: [(&str, &str, usize, usize); 3] = [
    ("ml-dsa-44", "mldsa44", 1312, 2420),
    ("ml-dsa-65", "mldsa65", 1952, 3309),
    ("ml-dsa-87", "mldsa87", 2592, 4627),
];

pub struct Device {
    // Ended in this order.
    pub signer: Signer,
    pub ca: Ca,
    pub hsm: Hsm,
}

impl Device {
    /// None, and why, where Kryoptic can't be had.
    pub fn start() -> Option<Self> {
        let hsm = Hsm::start_if_possible(Kind::Kryoptic)?;
        Some(Self {
            // What it has without a file: it knows what it signs.
            signer: Signer::start_with_default_policy(&hsm),
            ca: Ca::by(&hsm.openssl()),
            hsm,
        })
    }

    /// A key with a certificate of the CA: its URI and the certificate's file.
    pub fn enrolled(&self, key_type: &str) -> (String, PathBuf) {
        let uri = self.hsm.create_key(key_type, key_type);
        let csr = self.csr(key_type, &uri);
        let certificate = self.ca.issue(key_type, &csr);
        (uri, certificate)
    }

    pub fn csr(&self, name: &str, uri: &str) -> String {
        let mut csr = self.signer.tedge_hsm();
        succeed(csr.args(["csr", "--common-name", name, "--uri", uri]))
    }
}
