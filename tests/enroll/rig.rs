//! A device with a blank token, a CA, and a broker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::est::EstServer;
use support::hsm::PIN;
use support::openssl::Ca;
use support::{Hsm, Kind, Mosquitto, Signer, program, succeed, write_secret};

/// Runs to the end; panics unless it fails with exit code 1. Returns the last line on standard error: those before it tell
/// of what was done.
pub fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {error}");
    error.lines().last().unwrap_or_default().to_owned()
}

pub struct Device {
    // Ended in this order.
    pub server: EstServer,
    pub broker: Mosquitto,
    pub signer: Signer,
    pub ca: Ca,
    pub hsm: Hsm,
}

impl Device {
    pub fn new() -> Self {
        Self::with_policy(None)
    }

    /// With this policy in place of one that allows all.
    pub fn with_policy(policy: Option<&str>) -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        if let Some(policy) = policy {
            std::fs::write(hsm.file(support::signer::POLICY), policy).unwrap();
        }
        let ca = Ca::new();
        let toml = format!(
            "# thin-edge.io's\n[device.cryptoki]\nmodule_path = \"{}\"\nuri = \"pkcs11:token=device\"\n",
            hsm.module().display(),
        );
        std::fs::write(hsm.file("tedge.toml"), toml).unwrap();
        write_secret(&hsm.file("password"), "s3cret\n");
        let server = EstServer::start(&ca);
        // The tenant's CA is one of the broker's, and none of the device's.
        let read = |name| std::fs::read_to_string(ca.file(name)).unwrap();
        std::fs::write(ca.file("clients.pem"), read("ca.pem") + &read("tenant.pem")).unwrap();
        let broker = Mosquitto::start_with_clients(&ca, &ca.file("clients.pem"));
        Self {
            server,
            broker,
            signer: Signer::start_with(&hsm, &["--pin", PIN]),
            ca,
            hsm,
        }
    }

    pub fn cert(&self) -> PathBuf {
        self.hsm.file("device-certs/tedge-certificate.pem")
    }

    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.hsm
            .file(&format!("device-certs/tedge-certificate.pem{suffix}"))
    }

    pub fn bridge(&self) -> String {
        std::fs::read_to_string(self.hsm.file("bridge.toml")).unwrap_or_default()
    }

    /// `tedge-hsm enroll CLOUD`, in front of which `prefix` may stand.
    pub fn enroll_under(&self, prefix: &[String], cloud: &str, ca: &Path) -> Command {
        let mut words = prefix.iter();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program("tedge-hsm"));
                command
            }
            None => Command::new(program("tedge-hsm")),
        };
        command.env("TEDGE_CONFIG_DIR", self.hsm.dir.path());
        command.stdin(Stdio::null());
        command.arg("--socket-path").arg(self.signer.socket());
        command.args(["enroll", cloud, "--device-id", "device-1", "--bridge"]);
        command.arg(self.hsm.file("bridge.toml"));
        command.arg("--ca").arg(ca);
        command
    }

    /// With the CA that answers in the way of `label`, and the broker.
    pub fn est_under(&self, prefix: &[String], label: &str) -> Command {
        self.est_as(prefix, label, &self.ca.certificate())
    }

    fn est_as(&self, prefix: &[String], label: &str, ca: &Path) -> Command {
        let mut command = self.enroll_under(prefix, "est", ca);
        command.args(["--est", &self.server.url(label)]);
        command.args(["--broker", &format!("localhost:{}", self.broker.tls_port)]);
        command.args(["--preset", "cumulocity", "--broker-ca"]);
        command.arg(self.ca.certificate());
        command
    }

    /// The same with a password.
    pub fn est(&self, label: &str) -> Command {
        self.est_with_ca(label, &self.ca.certificate())
    }

    /// And with another file for the CA.
    pub fn est_with_ca(&self, label: &str, ca: &Path) -> Command {
        let mut command = self.est_as(&[], label, ca);
        command.args(["--user", "installer", "--password-file"]);
        command.arg(self.hsm.file("password"));
        command
    }

    pub fn cumulocity(&self) -> Command {
        let mut command = self.enroll_under(&[], "cumulocity", &self.ca.certificate());
        command.args(["--url", &format!("localhost:{}", self.server.port())]);
        command.args(["--mqtt", &format!("localhost:{}", self.broker.tls_port)]);
        command.args(["--retry-every", "1"]);
        command
    }

    /// openssl takes the certificate as one of `ca`, and the device connects with it.
    pub fn is_enrolled(&self, ca: &str) {
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-purpose", "sslclient", "-CAfile"]);
        succeed(verify.arg(self.ca.file(ca)).arg(self.cert()));
        let mut connect = self.signer.tedge_hsm();
        connect.args(["connect", "--host", "localhost", "--port"]);
        connect.arg(self.broker.tls_port.to_string());
        connect.args(["--uri", "pkcs11:token=device;object=tls", "--cert"]);
        connect.arg(self.cert()).arg("--ca");
        let said = succeed(connect.arg(self.ca.certificate()));
        assert!(said.contains("client id device-1"), "{said}");
        assert!(!self.beside(".enrolment").exists());
        self.bridge_is_good();
    }

    /// The bridge takes its configuration, and finds key and certificate.
    pub fn bridge_is_good(&self) {
        let mut bridge = Command::new(program("tedge-hsm-bridge"));
        let config = self.hsm.file("checked.toml");
        let local = format!("[local]\nport = {}\n", self.broker.port);
        // The signer of this test is elsewhere than the unit's.
        let signer = format!(
            "signer = {:?}\nclient_id",
            self.signer.socket().display().to_string()
        );
        let text = self.bridge().replacen("client_id", &signer, 1);
        std::fs::write(&config, local + &text).unwrap();
        let said = succeed(bridge.arg("--check").arg("--config").arg(config));
        assert!(said.contains("ok: 1 cloud"), "{said}");
    }

    /// How many private keys there are.
    pub fn keys(&self) -> usize {
        let mut list = self.signer.tedge_hsm();
        let listed = succeed(list.args(["list-keys", "--json"]));
        listed.matches("\"class\": \"private\"").count()
    }

    /// Nothing is there but the token.
    pub fn blank(&self) {
        let folder = self.hsm.file("device-certs");
        if folder.exists() {
            std::fs::remove_dir_all(folder).unwrap();
        }
        let _ = std::fs::remove_file(self.hsm.file("bridge.toml"));
        while self.keys() > 0 {
            let mut delete = self.signer.tedge_hsm();
            succeed(delete.args(["delete-key", "--yes", "--uri", "pkcs11:object=tls"]));
        }
    }
}
