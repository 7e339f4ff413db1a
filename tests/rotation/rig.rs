//! A device with README's tedge.toml, a CA, and a broker.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::broker::Broker;
use support::est::EstServer;
use support::hsm::PIN;
use support::openssl::Ca;
use support::{Hsm, Kind, Signer, program, succeed, write_secret};

pub struct Device {
    // Ended in this order.
    pub server: EstServer,
    pub broker: Broker,
    pub signer: Signer,
    pub ca: Ca,
    pub hsm: Hsm,
}

impl Device {
    /// With a key `tls` and its certificate.
    pub fn new(kind: Kind) -> Self {
        Self::with_policy(kind, None)
    }

    /// With this policy in place of one that allows all.
    pub fn with_policy(kind: Kind, policy: Option<&str>) -> Self {
        let hsm = Hsm::start(kind);
        let key = hsm.create_key("tls", "p256");
        if let Some(policy) = policy {
            std::fs::write(hsm.file(support::signer::POLICY), policy).unwrap();
        }
        let ca = match kind {
            Kind::Kryoptic => Ca::by(&hsm.openssl()),
            _ => Ca::new(),
        };
        let broker = Broker::start(&ca);
        let toml = format!(
            "[device.cryptoki]\nmodule_path = \"{}\"\nuri = \"pkcs11:token=device\"\n\n\
             [c8y]\nurl = \"localhost:{}\"\nroot_cert_path = \"{}\"\n",
            hsm.module().display(),
            broker.port,
            ca.certificate().display(),
        );
        std::fs::write(hsm.file("tedge.toml"), toml).unwrap();
        std::fs::create_dir(hsm.file("device-certs")).unwrap();
        let device = Self {
            server: EstServer::start(&ca),
            broker,
            signer: Signer::start_with(&hsm, &["--pin", PIN]),
            ca,
            hsm,
        };
        write_secret(&device.hsm.file("password"), "s3cret\n");
        let mut enroll = device.renew("est");
        enroll.args(["--enroll", "--common-name", "device-1", "--uri", &key]);
        enroll.args(["--user", "installer", "--password-file"]);
        succeed(enroll.arg(device.hsm.file("password")));
        device
    }

    pub fn with_signer_restarted(self) -> Self {
        let Self {
            server,
            broker,
            signer,
            ca,
            hsm,
        } = self;
        drop(signer);
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

    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.cert()).unwrap()
    }

    /// Puts another certificate of the same key in place, which ends in 8 of 90 days, and returns it.
    pub fn install_one_that_ends(&self) -> String {
        let mut csr = self.signer.tedge_hsm();
        csr.env("TEDGE_CONFIG_DIR", self.hsm.dir.path());
        csr.args(["csr", "--common-name", "device-1", "--uri"]);
        let csr = succeed(csr.arg("pkcs11:token=device;object=tls"));
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let day = 24 * 3600;
        let ending = (now - 82 * day, now + 8 * day);
        let issued = self.ca.issue_at("ending", &csr, ending.0, ending.1);
        std::fs::copy(issued, self.cert()).unwrap();
        self.certificate()
    }

    /// The command, in front of which `prefix` may stand.
    pub fn renew_under(&self, prefix: &[String], label: &str) -> Command {
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
        command.arg("--socket-path").arg(self.signer.socket());
        command.args(["renew", "--est", &self.server.url(label), "--cert"]);
        command
            .arg(self.cert())
            .arg("--ca")
            .arg(self.ca.certificate());
        command
    }

    pub fn renew(&self, label: &str) -> Command {
        self.renew_under(&[], label)
    }

    /// A rotation that keeps the old key for no time.
    pub fn rotate(&self) -> Command {
        let mut rotate = self.renew("est");
        rotate.args(["--new-key", "--keep-old", "0"]);
        rotate
    }

    /// The step that is recorded, if a rotation is under way.
    pub fn step(&self) -> Option<String> {
        Some(self.record()?["step"].as_str().unwrap().to_owned())
    }

    pub fn record(&self) -> Option<Value> {
        let record = std::fs::read(self.beside(".rotation")).ok()?;
        Some(serde_json::from_slice(&record).unwrap())
    }

    /// The device connects: by no URI, and by one that names the token.
    pub fn connects(&self) {
        for uri in [None, Some("pkcs11:token=device")] {
            let mut connect = self.signer.tedge_hsm();
            connect.args(["connect", "--host", "localhost", "--port"]);
            connect.arg(self.broker.port.to_string());
            connect.args(uri.iter().flat_map(|uri| ["--uri", uri]));
            connect.arg("--cert").arg(self.cert()).arg("--ca");
            let said = succeed(connect.arg(self.ca.certificate()));
            assert!(said.contains("client id device-1"), "{said}");
        }
    }

    /// URIs of the private keys.
    pub fn keys(&self) -> Vec<String> {
        let mut list = self.signer.tedge_hsm();
        let listed = succeed(list.args(["list-keys", "--json"]));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let keys = listed.as_array().unwrap().iter();
        let private = keys.filter(|key| key["class"] == "private");
        private
            .map(|key| key["uri"].as_str().unwrap().to_owned())
            .collect()
    }

    /// One key, one certificate, and it is not `before`.
    pub fn is_finished(&self) {
        assert_eq!(self.keys().len(), 1);
        assert!(self.record().is_none());
        assert!(!self.beside(".next").exists());
        self.connects();
    }
}
