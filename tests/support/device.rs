//! A device with a certificate: a P-256 key in SoftHSM2, the signer, and a CA that has issued for the key.

use std::path::PathBuf;
use std::process::Command;

use crate::{Ca, Hsm, Kind, Signer, succeed};

pub struct Device {
    // Ended in this order.
    pub signer: Signer,
    pub hsm: Hsm,
    pub ca: Ca,
    /// By `ca`, for `device-1`.
    pub cert: PathBuf,
    /// Of the key, whose label is `tls`.
    pub uri: String,
}

impl Device {
    /// Its signer signs everything.
    pub fn start() -> Self {
        Self::with(Signer::start)
    }

    /// Its signer has the policy that it has without a file.
    pub fn start_with_default_policy() -> Self {
        Self::with(Signer::start_with_default_policy)
    }

    fn with(signer: fn(&Hsm) -> Signer) -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("tls", "p256");
        let mut device = Self {
            signer: signer(&hsm),
            hsm,
            ca: Ca::new(),
            cert: PathBuf::new(),
            uri,
        };
        device.cert = device.certificate_by(&device.ca);
        device
    }

    /// A certificate by this CA, `device-1.pem` in its folder.
    pub fn certificate_by(&self, ca: &Ca) -> PathBuf {
        let mut csr = self.signer.tedge_hsm();
        csr.args(["csr", "--common-name", "device-1", "--uri", &self.uri]);
        ca.issue("device-1", &succeed(&mut csr))
    }

    /// `connect` to a server on this machine.
    pub fn connect(&self, port: u16) -> Command {
        let mut command = self.signer.tedge_hsm();
        command.args(["connect", "--host", "localhost", "--port"]);
        command.arg(port.to_string());
        command.args(["--uri", &self.uri, "--cert"]).arg(&self.cert);
        command.arg("--ca").arg(self.ca.certificate());
        command
    }
}
