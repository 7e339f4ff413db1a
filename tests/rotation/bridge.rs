//! The bridge goes on without a restart, and loses nothing.

use std::collections::HashSet;

use support::mqtt::{Subscriber, await_some, publish_all};
use support::{Bridge, Kind, Mosquitto, succeed};

use crate::rig::Device;

#[test]
fn the_bridge_goes_on_while_keys_are_replaced() {
    let device = Device::new(Kind::SoftHsm);
    let local = Mosquitto::start(None);
    let cloud = Mosquitto::start(Some(&device.ca));
    let config = format!(
        "[local]\nport = {local}\n\
         [cloud.test]\nhost = \"localhost\"\nport = {cloud}\nclient_id = \"device-1\"\n\
         cert = \"{cert}\"\nca = \"{ca}\"\nkey = \"pkcs11:token=device\"\nsigner = \"{signer}\"\n\
         tls12 = false\nreconnect_max = 1\ncheck_interval = 1\n\
         [[cloud.test.out]]\ntopic = \"out/#\"\nstrip = \"out/\"\nadd = \"dev/\"\n",
        local = local.port,
        cloud = cloud.tls_port,
        cert = device.cert().display(),
        ca = device.ca.certificate().display(),
        signer = device.signer.socket().display(),
    );
    let mut bridge = Bridge::spawn(device.hsm.dir.path(), &config);
    bridge.await_ready();
    let received = Subscriber::start(cloud.port, "check", "dev/#");
    let publish = |round: usize| {
        let messages: Vec<_> = (0..MESSAGES)
            .map(|number| ("out/x".to_owned(), format!("{round} {number}").into_bytes()))
            .collect();
        publish_all(local.port, "p", &messages);
    };
    publish(0);
    for round in 1..=ROUNDS {
        let renewed = bridge.count("the certificate was renewed");
        // With the bridge's broker and its client id: that ends the bridge's connection, and its session stays.
        let mut rotate = device.rotate();
        let broker = format!("localhost:{}", cloud.tls_port);
        succeed(rotate.args(["--try-connect", &broker]));
        assert_eq!(device.keys().len(), 1);
        publish(round);
        // Found by a look at the file, or by the next connection.
        await_some("a connection with the new certificate", || {
            let connections = cloud.log().matches("as device-1 (p2, c0, k60").count();
            let is_renewed = bridge.count("the certificate was renewed") > renewed;
            (is_renewed || connections > round).then_some(())
        });
    }
    let expected: HashSet<_> = (0..=ROUNDS)
        .flat_map(|round| (0..MESSAGES).map(move |number| format!("{round} {number}")))
        .collect();
    await_some("all messages", || {
        let messages = received.messages().into_iter();
        let texts: HashSet<_> = messages
            .map(|(_, payload)| String::from_utf8(payload).unwrap())
            .collect();
        (texts == expected).then_some(())
    });
    assert!(bridge.is_running(), "{}", bridge.log());
}

const ROUNDS: usize = 3;
const MESSAGES: usize = 200;
