//! A cloud's MQTT broker: mosquitto, under the names and on the ports that devices know it by.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::network::Network;
use crate::openssl::Ca;
use crate::responder::await_socket;

/// A network in which `hosts` are one mosquitto on ports 8883 and 443. It takes clients with a certificate that leads to the CA
/// of clients.
pub struct Cloud {
    broker: Child,
    /// Has issued the certificate of the broker.
    pub server_ca: Ca,
    /// Issues the certificates of clients.
    pub client_ca: Arc<Ca>,
    dir: TempDir,
    network: Network,
}

impl Cloud {
    /// None, with a line that says why, where this machine lets nobody make a network.
    pub fn start(hosts: &[&str]) -> Option<Self> {
        Self::start_with(hosts, "TLSv1.3")
    }

    /// Which speaks no newer TLS than this.
    pub fn start_with(hosts: &[&str], tls: &str) -> Option<Self> {
        let network = Network::start(hosts)?;
        let (server_ca, client_ca) = (Ca::new(), Arc::new(Ca::new()));
        server_ca.issue_server("cloud", hosts);
        let dir = tempfile::tempdir().unwrap();
        let ports = [8883, 443].map(|port| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
                 cafile {}\ncertfile {}\nkeyfile {}\n",
                client_ca.certificate().display(),
                server_ca.file("cloud.pem").display(),
                server_ca.file("cloud.key").display(),
            )
        });
        let config = format!(
            "user {user}\nlog_dest file {dir}/log\nlog_type all\nconnection_messages true\n\
             max_queued_messages 0\nlistener 0 {dir}/socket\nallow_anonymous true\n\
             {ports}",
            user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
            dir = dir.path().display(),
            ports = ports.concat(),
        );
        std::fs::write(dir.path().join("conf"), config).unwrap();
        // mosquitto has a setting for the oldest TLS only.
        let openssl = format!(
            "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\nMaxProtocol = {tls}\n"
        );
        std::fs::write(dir.path().join("openssl.cnf"), openssl).unwrap();
        // Debian has it in /usr/sbin, which is not in everybody's PATH.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let broker = network
            .command(dir.path(), "mosquitto")
            .env("PATH", path)
            .env("OPENSSL_CONF", dir.path().join("openssl.cnf"))
            .args(["-c", "conf"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter is installed");
        let cloud = Self {
            broker,
            server_ca,
            client_ca,
            dir,
            network,
        };
        await_socket(&cloud.socket());
        Some(cloud)
    }

    /// For clients on this machine, without TLS.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// A command in its network, in the folder `dir`.
    pub fn command(&self, dir: &Path, program: &Path) -> Command {
        self.network.command(dir, program)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
        if std::thread::panicking() {
            eprintln!("--- the cloud's broker\n{}", self.log());
        }
    }
}
