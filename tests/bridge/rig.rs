//! Both brokers, the signer and the network around a bridge.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use support::mqtt::Message;
use support::{Ca, Hsm, Kind, Mosquitto, Proxy, Signer, program, succeed};

/// A token, a signer, two brokers and a network between the bridge and the cloud.
pub struct Rig {
    pub signer: Option<Signer>,
    pub ca: Ca,
    pub cert: PathBuf,
    pub uri: String,
    pub local: Mosquitto,
    pub cloud: Mosquitto,
    pub proxy: Proxy,
    pub hsm: Hsm,
}

impl Rig {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines of configuration for both brokers.
    pub fn start_with(more: &str) -> Self {
        Self::start_with_each(more, more)
    }

    /// With more lines of configuration for the local broker and for the cloud's.
    pub fn start_with_each(local: &str, cloud: &str) -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("device", "p256");
        let signer = Signer::start(&hsm);
        let ca = Ca::new();
        let local = Mosquitto::start_with(None, local);
        let cloud = Mosquitto::start_with(Some(&ca), cloud);
        let rig = Self {
            signer: Some(signer),
            cert: hsm.file("device.pem"),
            uri,
            local,
            proxy: Proxy::start(cloud.tls_port),
            cloud,
            ca,
            hsm,
        };
        let issued = rig.issue("device-1");
        std::fs::copy(issued, &rig.cert).unwrap();
        rig
    }

    /// With a module that misbehaves on command.
    pub fn start_with_faulty_module() -> Self {
        let mut rig = Self::start();
        rig.signer = None;
        rig.faults("");
        rig.signer = Some(rig.faulty_signer());
        rig
    }

    pub fn faulty_signer(&self) -> Signer {
        let mut command = Signer::command(&self.hsm, &program("libfaulty_module.so"));
        command
            .args(["--pin", support::hsm::PIN])
            .env("FAULTY_MODULE", self.hsm.module())
            .env("FAULTY_CONTROL", self.hsm.file("control"))
            .env("FAULTY_LOG", self.hsm.file("calls.log"));
        Signer::spawn(&self.hsm, &mut command)
    }

    /// From now on, the module misbehaves like this.
    pub fn faults(&self, rules: &str) {
        let new = self.hsm.file("control.new");
        std::fs::write(&new, rules).unwrap();
        std::fs::rename(new, self.hsm.file("control")).unwrap();
    }

    pub fn dir(&self) -> &Path {
        self.hsm.dir.path()
    }

    /// Has the CA issue a certificate for the key.
    pub fn issue(&self, name: &str) -> PathBuf {
        let signer = self.signer.as_ref().unwrap();
        let csr = ["csr", "--common-name", name, "--uri", &self.uri];
        self.ca.issue(name, &succeed(signer.tedge_hsm().args(csr)))
    }

    /// The bridge's configuration, with more lines for the cloud.
    pub fn config(&self, more: &str) -> String {
        format!(
            "[local]\nport = {local}\n\
             [cloud.test]\nhost = \"localhost\"\nport = {cloud}\nclient_id = \"device-1\"\n\
             cert = \"{cert}\"\nca = \"{ca}\"\nkey = \"pkcs11:object=device\"\nsigner = \"{signer}\"\n\
             tls12 = false\nreconnect_max = 1\n{more}\n\
             [[cloud.test.out]]\ntopic = \"out/#\"\nstrip = \"out/\"\nadd = \"dev/\"\n\
             [[cloud.test.in]]\ntopic = \"cmd/#\"\nstrip = \"cmd/\"\nadd = \"in/\"\n",
            local = self.local.port,
            cloud = self.proxy.port,
            cert = self.cert.display(),
            ca = self.ca.certificate().display(),
            signer = self.socket().display(),
        )
    }

    pub fn socket(&self) -> PathBuf {
        self.hsm.file("signer.sock")
    }

    /// A signer with its socket in `dir`, open to the group `gid`, as systemd's SocketGroup= does it.
    pub fn signer_for(&self, dir: &Path, gid: u32) -> Signer {
        let socket = dir.join("signer.sock");
        let mut command = self.hsm.command(program("tedge-p11-server"));
        command.arg("--module-path").arg(self.hsm.module());
        command.arg("--socket-path").arg(&socket);
        command.arg("--config-dir").arg(self.dir());
        let signer = Signer::spawn(&self.hsm, command.args(["--pin", support::hsm::PIN]));
        std::os::unix::fs::chown(&socket, None, Some(gid)).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660)).unwrap();
        signer
    }
}

/// A message with its topic.
pub fn message(topic: &str, payload: &str) -> Message {
    (topic.to_owned(), payload.as_bytes().to_vec())
}
