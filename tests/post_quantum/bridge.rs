//! The bridge: post-quantum on both counts, with mosquitto of Debian 13.

use support::mqtt::{Subscriber, publish_all};
use support::{Bridge, Debian13, Mosquitto};

use crate::rig::Device;

#[test]
fn messages_go_both_ways_with_an_ml_dsa_key_over_ml_kem() {
    let Some(device) = Device::start() else {
        return;
    };
    let Some(debian13) = Debian13::find() else {
        return;
    };
    let (uri, certificate) = device.enrolled("ml-dsa-65");
    let cloud = Mosquitto::start_by(debian13, &device.ca);
    let local = Mosquitto::start(None);
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[local]\nport = {local}\n[cloud.test]\nhost = \"localhost\"\nport = {port}\nclient_id = \"device-1\"\n\
         cert = \"{cert}\"\nca = \"{ca}\"\nkey = \"{uri}\"\nsigner = \"{signer}\"\npost_quantum = \"require\"\n\
         [[cloud.test.out]]\ntopic = \"out/#\"\n[[cloud.test.in]]\ntopic = \"in/#\"\n",
        local = local.port,
        port = cloud.tls_port,
        cert = certificate.display(),
        ca = device.ca.certificate().display(),
        signer = device.signer.socket().display(),
    );
    let bridge = Bridge::spawn(dir.path(), &config);
    bridge.await_ready();
    bridge.await_log("connected, TLS 1.3, X25519MLKEM768, mldsa65, ", 0);
    // The certificate's name is the user's.
    let log = cloud.log();
    assert!(log.contains("u'CN=ml-dsa-65'"), "{log}");

    for (from, to, topic) in [(&local, &cloud, "out/t"), (&cloud, &local, "in/t")] {
        let subscriber = Subscriber::start(to.port, topic, topic);
        publish_all(
            from.port,
            "sender",
            &[(topic.to_owned(), b"hello".to_vec())],
        );
        subscriber.await_message(topic, |at, text| at == topic && text == "hello");
    }
}
