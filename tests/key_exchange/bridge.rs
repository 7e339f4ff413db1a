//! The bridge: what its log, systemd and the health message say, and the setting `post_quantum`.

use std::cell::Cell;

use support::mqtt::Subscriber;
use support::{Bridge, Debian13, Device, Mosquitto};

use crate::middlebox::{Middlebox, Way};

struct Rig {
    device: Device,
    local: Mosquitto,
    dir: tempfile::TempDir,
    watchers: Cell<u32>,
}

impl Rig {
    fn start() -> Self {
        Self {
            device: Device::start(),
            local: Mosquitto::start(None),
            dir: tempfile::tempdir().unwrap(),
            watchers: Cell::default(),
        }
    }

    fn bridge(&self, port: u16, more: &str) -> Bridge {
        let config = format!(
            "[local]\nport = {local}\n[cloud.test]\nhost = \"localhost\"\nport = {port}\nclient_id = \"device-1\"\n\
             cert = \"{cert}\"\nca = \"{ca}\"\nkey = \"{key}\"\nsigner = \"{signer}\"\nreconnect_max = 1\n{more}\n\
             [[cloud.test.out]]\ntopic = \"out/#\"\n",
            local = self.local.port,
            cert = self.device.cert.display(),
            ca = self.device.ca.certificate().display(),
            key = self.device.uri,
            signer = self.device.signer.socket().display(),
        );
        Bridge::spawn(self.dir.path(), &config)
    }

    /// Waits for a health message with this text in it.
    fn await_health(&self, what: &str) {
        // Another session each time, as the broker keeps them.
        let name = format!("health-{}", self.watchers.replace(self.watchers.get() + 1));
        let health = Subscriber::start(self.local.port, &name, "te/#");
        health.await_message(what, |topic, text| {
            topic.ends_with("/status/health") && text.contains(what)
        });
    }
}

#[test]
fn mosquitto_of_debian_13_agrees_on_it() {
    let Some(debian13) = Debian13::find() else {
        return;
    };
    let rig = Rig::start();
    let cloud = Mosquitto::start_by(debian13, &rig.device.ca);
    for (setting, group) in [
        ("", "X25519MLKEM768"),
        ("post_quantum = \"require\"", "X25519MLKEM768"),
        ("post_quantum = \"off\"", "x25519"),
    ] {
        let bridge = rig.bridge(cloud.tls_port, setting);
        bridge.await_ready();
        let made = format!("TLS 1.3, {group}, ecdsa_secp256r1_sha256");
        bridge.await_log(&format!("connected, {made}, "), 0);
        bridge.await_notification(&format!("0 held; {made}"));
        rig.await_health(&format!(
            "\"cloud\":\"up\",\"key_exchange\":\"{group}\",\"signature_scheme\":\"ecdsa_secp256r1_sha256\""
        ));
        assert_eq!(bridge.count("did not answer"), 0);
        drop(bridge);
        std::fs::remove_file(rig.dir.path().join("bridge.log")).unwrap();
    }
}

/// mosquitto of Debian 12, or one that is told to do without.
#[test]
fn require_refuses_the_rest_and_says_so_in_health() {
    let rig = Rig::start();
    let server = crate::server::Server::start_here(&rig.device.ca, &["-groups", "X25519:P-256"]);
    let middlebox = Middlebox::start(server.port, Way::Pass);
    let bridge = rig.bridge(middlebox.port, "post_quantum = \"require\"");
    let why = "does not take the key exchange X25519MLKEM768 (TLS alert handshake_failure), which is required here";
    bridge.await_log(why, 0);
    rig.await_health(why);
    assert!(middlebox.sizes().iter().all(|size| *size > 1000));
}

#[test]
fn a_middlebox_is_got_around_and_told_of() {
    let rig = Rig::start();
    let cloud = Mosquitto::start(Some(&rig.device.ca));
    for way in [Way::Close, Way::Alert] {
        let middlebox = Middlebox::start(cloud.tls_port, way);
        let bridge = rig.bridge(middlebox.port, "");
        bridge.await_ready();
        bridge.await_log("TLS 1.3, x25519, ", 0);
        bridge.await_log("did not answer the ClientHello with X25519MLKEM768", 0);
        assert_eq!(middlebox.connections(), 2);
        drop(bridge);
        std::fs::remove_file(rig.dir.path().join("bridge.log")).unwrap();

        let middlebox = Middlebox::start(cloud.tls_port, way);
        let bridge = rig.bridge(middlebox.port, "post_quantum = \"require\"");
        bridge.await_log("which is required here", 0);
        drop(bridge);
        assert!(middlebox.sizes().iter().all(|size| *size > 1400));
        std::fs::remove_file(rig.dir.path().join("bridge.log")).unwrap();
    }
}
