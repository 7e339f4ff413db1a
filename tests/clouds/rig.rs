//! A device in a cloud's network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};
use serde_json::Value;
use support::cloud::Cloud;
use support::mqtt::{Mqtt, await_some};
use support::{Bridge, Hsm, Kind, Signer, program, succeed, without_proxy};

/// A token behind the signer, and files; `Cloud` is the world outside.
pub struct Device {
    pub signer: Signer,
    pub hsm: Hsm,
}

impl Device {
    /// With the CA of the cloud's servers in `server-ca.pem`.
    pub fn new(cloud: &Cloud) -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        std::fs::copy(cloud.server_ca.certificate(), hsm.file("server-ca.pem")).unwrap();
        Self {
            signer: Signer::start(&hsm),
            hsm,
        }
    }

    pub fn dir(&self) -> &Path {
        self.hsm.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.hsm.file(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The certificate's file.
    pub fn cert(&self) -> PathBuf {
        self.file(CERT)
    }

    /// `tedge-hsm enroll CLOUD`, in front of which `prefix` may stand.
    pub fn enroll_under(&self, cloud: &Cloud, prefix: &[String], name: &str) -> Command {
        let tedge_hsm = program("tedge-hsm");
        let mut command = match prefix {
            [] => cloud.command(self.dir(), &tedge_hsm),
            [first, more @ ..] => {
                let mut command = cloud.command(self.dir(), Path::new(first));
                command.args(more).arg(&tedge_hsm);
                command
            }
        };
        without_proxy(&mut command);
        command.env("TEDGE_CONFIG_DIR", self.dir());
        command.arg("--socket-path").arg(self.signer.socket());
        command.args(["enroll", name, "--broker-ca"]);
        command.arg(self.file("server-ca.pem"));
        command.args(["--bridge", BRIDGE, "--timeout", "3"]);
        command
    }

    /// The installed certificate is for the key, as an outsider sees it.
    pub fn has_certificate_of_its_key(&self) {
        let openssl = ["x509", "-noout", "-pubkey", "-in", CERT];
        let mut command = Command::new("openssl");
        let of_certificate = succeed(command.current_dir(self.dir()).args(openssl));
        let mut public_key = self.signer.tedge_hsm();
        let of_key = succeed(public_key.args(["public-key", "--uri", "pkcs11:object=tls"]));
        assert_eq!(of_certificate, of_key);
    }

    /// The bridge works with the configuration that was written: what is published under one topic at the local broker
    /// comes out under the other one at the cloud, which is the same broker.
    pub fn bridge_carries(&self, cloud: &Cloud, topic: &str, at_cloud: &str) {
        let config = format!(
            "[local]\nsocket = \"{}\"\n\n{}signer = \"{}\"\n",
            cloud.socket().display(),
            self.read(BRIDGE),
            self.signer.socket().display(),
        );
        std::fs::write(self.file("bridge.toml"), config).unwrap();
        let mut command = cloud.command(self.dir(), &program("tedge-hsm-bridge"));
        let bridge = Bridge::spawn_command(self.dir(), command.args(["--config", "bridge.toml"]));
        bridge.await_ready();
        let mut mqtt = Mqtt::connect_unix(&cloud.socket(), "check").unwrap();
        mqtt.subscribe(at_cloud).unwrap();
        assert!(matches!(mqtt.receive().unwrap(), Packet::SubAck(_)));
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, "21");
        publish.pkid = 1;
        mqtt.send(&[Packet::Publish(publish)]).unwrap();
        let message = await_some("the message at the cloud", || mqtt.message().ok());
        assert_eq!(
            (message.topic.as_str(), &message.payload[..]),
            (at_cloud, &b"21"[..])
        );
    }

    /// The step that is recorded; `none` if no enrolment is under way.
    pub fn recorded_step(&self) -> String {
        let record = self.read(&format!("{CERT}.enrolment"));
        serde_json::from_str::<Value>(&record).map_or_else(
            |_| "none".to_owned(),
            |record| record["step"].as_str().unwrap().to_owned(),
        )
    }

    /// No enrolment is under way.
    pub fn has_finished(&self) {
        assert!(!self.file(&format!("{CERT}.enrolment")).exists());
    }
}

/// What stands in front of a command that is to be killed before the call of that number. strace kills before the call
/// is made, so that between two kills there is one change.
pub fn killing(device: &Device, call: &str, number: u32) -> Vec<String> {
    vec![
        "strace".to_owned(),
        "--follow-forks".to_owned(),
        "--quiet=all".to_owned(),
        format!("--output={}", device.file(STRACE).display()),
        format!("--trace=?{call}"),
        format!("--inject=?{call}:signal=KILL:when={number}"),
    ]
}

/// Runs such a command; false if it makes fewer calls than that.
pub fn is_killed(device: &Device, command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let was_killed = device.read(STRACE).contains("killed by SIGKILL");
    assert_eq!(!status.unwrap().success(), was_killed, "{command:?}");
    was_killed
}

/// What changes a file.
pub const CALLS: [&str; 2] = ["renameat", "unlinkat"];
const STRACE: &str = "strace";
pub const CERT: &str = "device-certs/tedge-certificate.pem";
pub const BRIDGE: &str = "tedge-hsm-bridge.toml";
