//! tedge-hsm-bridge between two mosquittos, with the key in SoftHSM2 behind the signer: nothing is lost and
//! nothing out of order, whatever is killed; memory is bounded; it says what is wrong and heals by itself.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use support::mqtt::{Mqtt, Subscriber, await_some, publish_all, publish_over};
use support::{Bridge, Ca, Hsm, Kind, Mosquitto, Proxy, Signer, fail, program, succeed};

/// Of the bridge, in all tests, in KiB: what docs/bridge.md says.
const MEMORY_BOUND: u64 = 24 * 1024;
const HEALTH: &str = "te/device/main/service/tedge-hsm-bridge-test/status/health";

#[test]
fn messages_pass_both_ways_under_other_topics() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "#");
    let local = Subscriber::start(rig.local.port, "check", "in/#");
    publish_all(rig.local.port, "p", &[message("out/a/b", "up")]);
    publish_all(rig.cloud.port, "p", &[message("cmd/a", "down")]);
    cloud.await_message("the message out", |topic, text| {
        (topic, text) == ("dev/a/b", "up")
    });
    local.await_message("the message in", |topic, text| {
        (topic, text) == ("in/a", "down")
    });
    // Nothing else has come out, and nothing went round.
    let topics: HashSet<_> = cloud
        .messages()
        .into_iter()
        .map(|(topic, _)| topic)
        .collect();
    assert_eq!(
        topics,
        HashSet::from(["dev/a/b".to_owned(), "cmd/a".to_owned()])
    );
    let log = rig.cloud.log();
    assert!(
        log.contains("as device-1 (p2, c0, k60"),
        "a persistent session: {log}"
    );
    let status = bridge.await_notification("1 out, 1 in, 0 held");
    assert!(status.contains("STATUS=test: up"), "{status}");
}

#[test]
fn the_source_is_acknowledged_only_after_the_sink() {
    let mut rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    // The local broker tells of each PUBACK that it gets from the bridge.
    let acknowledged = |rig: &Rig| {
        let log = rig.local.log();
        let from = "Received PUBACK from tedge-hsm-bridge-test";
        log.matches(from).count()
    };
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    await_some("the first acknowledgement", || {
        (acknowledged(&rig) == 1).then_some(())
    });
    rig.cloud.freeze();
    publish_all(
        rig.local.port,
        "p",
        &[message("out/x", "2"), message("out/x", "3")],
    );
    bridge.await_notification("2 held");
    assert_eq!(acknowledged(&rig), 1, "acknowledged before the cloud did");
    rig.cloud.thaw();
    await_some("the others", || (acknowledged(&rig) == 3).then_some(()));

    // A killed bridge has lost nothing of what it had not delivered.
    rig.cloud.freeze();
    let sent = [message("out/x", "4"), message("out/x", "5")];
    publish_all(rig.local.port, "p", &sent);
    bridge.await_notification("2 held");
    drop(bridge);
    rig.cloud.thaw();
    rig.cloud.end();
    rig.cloud.run();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    for wanted in ["4", "5"] {
        cloud.await_message("what the killed bridge held", |_, text| text == wanted);
    }
}

/// 10,000 messages each way, while everything is killed or cut off in turns.
#[test]
fn nothing_is_lost_or_out_of_order_whatever_is_killed() {
    const MESSAGES: usize = 10_000;
    const ROUNDS: usize = 4;
    let mut rig = Rig::start_with_faulty_module();
    let config = rig.config("");
    let mut bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    let at_cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let at_local = Subscriber::start(rig.local.port, "check", "in/#");
    let ways = [(rig.local.port, "out"), (rig.cloud.port, "cmd")]
        .map(|(port, topic)| (port, numbered(topic, MESSAGES)));
    let faults = [
        Fault::Cloud,
        Fault::Local,
        Fault::Bridge,
        Fault::Network,
        Fault::Signer,
        Fault::Token,
    ];
    let steps = ROUNDS * faults.len();
    let mut peak = 0;
    let counts = || [distinct(&at_cloud), distinct(&at_local)];
    for step in 0..steps {
        // What is published from here on is on its way when the fault comes.
        let share = MESSAGES * step / steps..MESSAGES * (step + 1) / steps;
        let before = counts();
        let publishers = ways.clone().map(|(port, messages)| {
            let share = share.clone();
            std::thread::spawn(move || publish_all(port, "publisher", &messages[share]))
        });
        await_some("both ways to work", || {
            let now = counts();
            (0..2).all(|way| now[way] > before[way]).then_some(())
        });
        match faults[step % faults.len()] {
            Fault::Cloud => {
                rig.cloud.end();
                rig.cloud.run();
            }
            Fault::Local => {
                rig.local.end();
                rig.local.run();
            }
            Fault::Bridge => {
                bridge.kill();
                peak = peak.max(bridge.peak_memory());
                bridge = Bridge::spawn(rig.dir(), &config);
            }
            Fault::Network => {
                let before = bridge.count("cloud: ");
                rig.proxy.close();
                bridge.await_log("cloud: ", before);
                rig.proxy.open();
            }
            Fault::Signer => {
                let before = bridge.count("is tedge-p11-server running?");
                rig.signer.as_ref().unwrap().signal(Signal::KILL);
                rig.signer = None;
                rig.proxy.cut();
                bridge.await_log("is tedge-p11-server running?", before);
                rig.signer = Some(rig.faulty_signer());
            }
            Fault::Token => {
                rig.faults("token device absent");
                let before = bridge.count("no token matches");
                rig.proxy.cut();
                bridge.await_log("no token matches", before);
                rig.faults("");
            }
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
    }
    for subscriber in [&at_cloud, &at_local] {
        await_some("the last message", || {
            (distinct(subscriber) == MESSAGES).then_some(())
        });
        in_order(subscriber);
        println!("{} received for {MESSAGES} published", subscriber.len());
    }
    peak = peak.max(bridge.peak_memory());
    println!("at most {peak} KiB of memory");
    assert!(peak < MEMORY_BOUND, "{peak} KiB of memory");
}

/// What is killed, and comes back.
#[derive(Clone, Copy)]
enum Fault {
    Cloud,
    Local,
    Bridge,
    Network,
    Signer,
    Token,
}

/// The local broker has 60 MB for a cloud that takes nothing, then little, then all.
#[test]
fn memory_is_bounded_under_a_flood() {
    const MESSAGES: usize = 15_000;
    let rig = Rig::start_with(
        // Without limits of their own, brokers send all that they have.
        "max_inflight_messages 0\n",
    );
    let mut bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let messages: Vec<_> = (0..MESSAGES)
        .map(|n| (format!("out/{}", n % 3), format!("{n:4000}").into_bytes()))
        .collect();
    rig.proxy.close();
    let mut publisher = Mqtt::connect(rig.local.port, "flood").unwrap();
    publish_over(&mut publisher, &messages).unwrap();
    rig.proxy.limit(200_000);
    rig.proxy.open();
    await_some("a trickle", || (cloud.len() > 50).then_some(()));
    rig.proxy.limit(0);
    await_some("all of it", || (distinct(&cloud) == MESSAGES).then_some(()));
    in_order(&cloud);
    let peak = bridge.peak_memory();
    println!(
        "at most {peak} KiB of memory, {} received for {MESSAGES}",
        cloud.len()
    );
    assert!(peak < MEMORY_BOUND, "{peak} KiB of memory");
    assert!(
        bridge.count("there is room again") > 0,
        "no flow control was needed"
    );
}

#[test]
fn without_the_hsm_the_local_side_lives_and_says_so() {
    let mut rig = Rig::start();
    rig.signer = None;
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    let text = health.await_message("health without a signer", |_, text| {
        text.contains("\"hsm\":\"unusable\"")
    });
    assert!(text.contains("\"status\":\"down\""), "{text}");
    assert!(text.contains("is tedge-p11-server running?"), "{text}");
    bridge.await_notification("cloud down: cannot connect to the signer");
    // The local side takes messages meanwhile.
    publish_all(rig.local.port, "p", &[message("out/x", "kept")]);
    bridge.await_notification("1 held");
    rig.signer = Some(Signer::start(&rig.hsm));
    bridge.await_ready();
    health.await_message("health with the signer", |_, text| {
        text.contains("\"status\":\"up\"") && text.contains("\"hsm\":\"usable\"")
    });
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    publish_all(rig.local.port, "p", &[message("out/x", "next")]);
    cloud.await_message("the next message", |_, text| text == "next");

    // The last will is the broker's: of a killed bridge, too.
    drop(bridge);
    health.await_message("the last will", |_, text| {
        text.contains("the bridge is gone")
    });
}

#[test]
fn it_stops_cleanly_and_says_goodbye() {
    let rig = Rig::start();
    let mut bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let health = Subscriber::start(rig.local.port, "health", HEALTH);
    health.await_message("health", |_, text| text.contains("\"status\":\"up\""));
    bridge.signal(Signal::TERM);
    assert!(bridge.wait().success());
    health.await_message("goodbye", |_, text| text.contains("the bridge was stopped"));
    // It is retained: who subscribes now gets it, too.
    let late = Subscriber::start(rig.local.port, "late", HEALTH);
    late.await_message("goodbye", |_, text| text.contains("the bridge was stopped"));
    assert!(
        rig.cloud
            .log()
            .contains("Received DISCONNECT from device-1")
    );
}

#[test]
fn a_renewed_certificate_is_used_for_the_next_connection() {
    let rig = Rig::start();
    let serial = |path: &Path| {
        let output = succeed(
            Command::new("openssl")
                .args(["x509", "-noout", "-serial", "-in"])
                .arg(path),
        );
        output.trim().to_owned()
    };
    let bridge = Bridge::spawn(rig.dir(), &rig.config(""));
    bridge.await_ready();
    let before = serial(&rig.cert);
    // What a browser does with a CA's request: the same key, another certificate and name.
    rig.issue("device-renewed");
    std::fs::copy(rig.ca.file("device-renewed.pem"), &rig.cert).unwrap();
    assert_ne!(serial(&rig.cert), before);
    rig.proxy.cut();
    await_some("a connection with the new certificate", || {
        rig.cloud.log().contains("CN=device-renewed").then_some(())
    });
}

#[test]
fn the_brokers_certificate_is_verified() {
    let rig = Rig::start();
    // A CA of the same name that did not issue it; a name that it is not for.
    let other = Ca::new();
    std::fs::copy(other.certificate(), rig.hsm.file("other.pem")).unwrap();
    let ca = format!("ca = {:?}", rig.ca.certificate());
    let wrong_ca = format!("ca = {:?}", rig.hsm.file("other.pem"));
    let good = rig.config("");
    for (config, wanted) in [
        (
            good.replace(&ca, &wrong_ca),
            "invalid peer certificate: BadSignature",
        ),
        (
            good.replace("host = \"localhost\"", "host = \"127.0.0.1\""),
            "invalid peer certificate: certificate not valid for name",
        ),
    ] {
        let bridge = Bridge::spawn(rig.dir(), &config);
        bridge.await_notification(wanted);
    }
    assert_eq!(
        rig.cloud.log().matches("connected from 127.0.0.1").count(),
        0
    );
}

#[test]
fn tls_1_2_is_spoken_only_when_allowed() {
    let rig = Rig::start();
    let server = support::broker::SServer::start(&rig.ca, &["-tls1_2"]);
    let config = rig.config("").replace(
        &format!("port = {}\n", rig.proxy.port),
        &format!("port = {}\n", server.port),
    );
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_notification("no TLS: received fatal alert: ProtocolVersion");
    drop(bridge);
    // s_server speaks no MQTT: that the handshake is done is all there is to see.
    let bridge = Bridge::spawn(rig.dir(), &config.replace("tls12 = false", "tls12 = true"));
    bridge.await_notification("the broker did not answer CONNECT");
}

#[test]
fn several_clouds_have_their_own_keys() {
    let rig = Rig::start();
    let second = rig.hsm.create_key("second", "rsa2048");
    let csr = succeed(rig.signer.as_ref().unwrap().tedge_hsm().args([
        "csr",
        "--common-name",
        "device-2",
        "--uri",
        &second,
    ]));
    let cert = rig.ca.issue("device-2", &csr);
    let other = Mosquitto::start(Some(&rig.ca));
    let config = format!(
        "{}[cloud.other]\nhost = \"localhost\"\nport = {}\nclient_id = \"device-2\"\ncert = {cert:?}\n\
         ca = {:?}\nkey = \"pkcs11:object=second\"\nsigner = {:?}\nreconnect_max = 1\n\
         out = [{{ topic = \"out/#\", add = \"two/\" }}]\n",
        rig.config(""),
        other.tls_port,
        rig.ca.certificate(),
        rig.hsm.file("signer.sock"),
    );
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    let one = Subscriber::start(rig.cloud.port, "check", "#");
    let two = Subscriber::start(other.port, "check", "#");
    publish_all(rig.local.port, "p", &[message("out/x", "both")]);
    one.await_message("one", |topic, _| topic == "dev/x");
    two.await_message("two", |topic, _| topic == "two/out/x");
    // One of them gone is nothing to the other.
    rig.proxy.close();
    publish_all(rig.local.port, "p", &[message("out/x", "still")]);
    two.await_message("two alone", |_, text| text == "still");
}

#[test]
fn messages_that_are_too_long_are_dropped_and_stop_nobody() {
    let rig = Rig::start();
    let bridge = Bridge::spawn(rig.dir(), &rig.config("max_message = 1000"));
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let long = |len: usize| ("out/x".to_owned(), vec![b'x'; len]);
    // In one piece with others, longer than what is read at a time, and longer under the other topic only.
    let messages = [
        long(1001),
        long(300_000),
        long(995),
        message("out/x", "end"),
    ];
    publish_all(rig.local.port, "p", &messages);
    cloud.await_message("the end", |_, text| text == "end");
    let lengths: Vec<_> = cloud
        .messages()
        .iter()
        .map(|(_, payload)| payload.len())
        .collect();
    assert_eq!(lengths, [995, 3]);
    assert_eq!(bridge.count("is longer than max_message: dropped"), 2);
}

#[test]
fn retained_messages_and_qos_0() {
    let rig = Rig::start();
    let config = rig
        .config("")
        .replace("add = \"dev/\"", "add = \"dev/\"\nretain = \"always\"");
    let bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    publish_all(rig.local.port, "p", &[message("out/state", "on")]);
    bridge.await_notification("1 out");
    let late = Subscriber::start(rig.cloud.port, "late", "dev/#");
    late.await_message("what was retained", |topic, text| {
        (topic, text) == ("dev/state", "on")
    });
}

/// A bad file: one line that names line and key, and nothing started.
#[test]
fn a_mistake_in_the_configuration_is_told_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bridge.toml");
    let good =
        "[cloud.x]\nhost = \"h\"\nclient_id = \"d\"\ncert = \"c\"\npreset = \"cumulocity\"\n";
    for (text, wanted) in [
        (
            good.replace("host", "hots"),
            ", line 2, hots: unknown field `hots`",
        ),
        (format!("{good}port = 99999\n"), ", line 6, port: "),
        (
            format!("{good}[[cloud.x.out]]\ntopic = \"a/#/b\"\n"),
            ", line 7, topic: \"a/#/b\" is no topic filter",
        ),
        (
            format!("{good}[[cloud.x.in]]\ntopic = \"a/b\"\nstrip = \"b/\"\n"),
            ", line 8, strip: the topics",
        ),
        (
            format!("{good}tls = \"no\"\n"),
            ", line 6, tls: unknown field",
        ),
        (
            format!("{good}verify = false\n"),
            ", line 6, verify: unknown field",
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        for check in [&["--check"][..], &[]] {
            let mut command = Command::new(program("tedge-hsm-bridge"));
            let error = fail(command.arg("--config").arg(&file).args(check));
            assert!(error.contains(wanted), "{error}");
        }
    }
    std::fs::write(&file, good).unwrap();
    succeed(
        Command::new(program("tedge-hsm-bridge"))
            .arg("--check")
            .arg("--config")
            .arg(&file),
    );
    let missing = dir.path().join("none.toml");
    let mut command = Command::new(program("tedge-hsm-bridge"));
    let error = fail(command.arg("--config").arg(&missing));
    assert!(error.contains("none.toml: No such file"), "{error}");
}

/// In a container that has the folder of the signer's socket, not the socket, and other users: the signer
/// is restarted, with a new socket, and the bridge connects again.
#[test]
fn in_a_container_it_survives_a_restart_of_the_signer() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to be another user outside of the container");
        return;
    }
    let can = outsider("bwrap")
        .args(["--ro-bind", "/", "/", "--unshare-user", "true"])
        .status();
    if !can.is_ok_and(|status| status.success()) {
        println!("skipped: bubblewrap is not installed, or may not make a container here");
        return;
    }
    let mut rig = Rig::start();
    let files = tempfile::tempdir_in("/tmp").unwrap();
    let (config, socket_dir) = (files.path().join("config"), files.path().join("signer"));
    for dir in [files.path(), &config, &socket_dir] {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::copy(&rig.cert, config.join("device.pem")).unwrap();
    std::fs::copy(rig.ca.certificate(), config.join("ca.pem")).unwrap();
    std::fs::copy(program("tedge-hsm-bridge"), files.path().join("bridge")).unwrap();
    let quoted = |path: PathBuf| format!("{path:?}");
    let text = rig
        .config("")
        .replace(&quoted(rig.cert.clone()), "\"/config/device.pem\"")
        .replace(&quoted(rig.ca.certificate()), "\"/config/ca.pem\"")
        .replace(&quoted(rig.socket()), "\"/run/signer/signer.sock\"");
    std::fs::write(config.join("bridge.toml"), text).unwrap();
    let notify = files.path().join("bridge-notify.sock");

    rig.signer = Some(rig.signer_for(&socket_dir, OUTSIDER));
    let mut command = outsider("bwrap");
    command
        .args(["--unshare-user", "--uid", "1234", "--gid", "1234"])
        .args([
            "--unshare-pid",
            "--unshare-ipc",
            "--die-with-parent",
            "--proc",
            "/proc",
        ])
        .args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"])
        .args([
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--ro-bind",
            "/etc/hosts",
            "/etc/hosts",
        ]);
    for (outside, inside) in [
        (files.path().join("bridge"), Path::new("/bridge")),
        (config, Path::new("/config")),
        (socket_dir.clone(), Path::new("/run/signer")),
        (notify.clone(), &notify),
    ] {
        command.arg("--ro-bind").arg(outside).arg(inside);
    }
    command.args(["/bridge", "--config", "/config/bridge.toml"]);
    let bridge = Bridge::spawn_command(files.path(), &mut command);
    bridge.await_ready();
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    cloud.await_message("a message from the container", |_, text| text == "1");
    // The signer sees the user outside, not the one that the container has.
    let log = rig.signer.as_ref().unwrap().log();
    assert!(log.contains(&format!("sign for uid {OUTSIDER} ")), "{log}");

    rig.signer = None;
    rig.proxy.cut();
    bridge.await_log("is tedge-p11-server running?", 0);
    publish_all(rig.local.port, "p", &[message("out/x", "2")]);
    rig.signer = Some(rig.signer_for(&socket_dir, OUTSIDER));
    cloud.await_message("a message after the restart", |_, text| text == "2");
}

/// A user outside of the container, who need not exist.
const OUTSIDER: u32 = 54321;

/// A program that runs as [`OUTSIDER`].
fn outsider(program: &str) -> Command {
    let id = OUTSIDER.to_string();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--",
        program,
    ]);
    command
}

/// A token, a signer, two brokers and a network between the bridge and the cloud.
struct Rig {
    signer: Option<Signer>,
    ca: Ca,
    cert: PathBuf,
    uri: String,
    local: Mosquitto,
    cloud: Mosquitto,
    proxy: Proxy,
    hsm: Hsm,
}

impl Rig {
    fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines of configuration for the brokers.
    fn start_with(more: &str) -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("device", "p256");
        let signer = Signer::start(&hsm);
        let ca = Ca::new();
        let cloud = Mosquitto::start_with(Some(&ca), more);
        let rig = Self {
            signer: Some(signer),
            cert: hsm.file("device.pem"),
            uri,
            local: Mosquitto::start_with(None, more),
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
    fn start_with_faulty_module() -> Self {
        let mut rig = Self::start();
        rig.signer = None;
        rig.faults("");
        rig.signer = Some(rig.faulty_signer());
        rig
    }

    fn faulty_signer(&self) -> Signer {
        let mut command = Signer::command(&self.hsm, &program("libfaulty_module.so"));
        command
            .args(["--pin", support::hsm::PIN])
            .env("FAULTY_MODULE", self.hsm.module())
            .env("FAULTY_CONTROL", self.hsm.file("control"))
            .env("FAULTY_LOG", self.hsm.file("calls.log"));
        Signer::spawn(&self.hsm, &mut command)
    }

    /// From now on, the module misbehaves like this.
    fn faults(&self, rules: &str) {
        let new = self.hsm.file("control.new");
        std::fs::write(&new, rules).unwrap();
        std::fs::rename(new, self.hsm.file("control")).unwrap();
    }

    fn dir(&self) -> &Path {
        self.hsm.dir.path()
    }

    /// Has the CA issue a certificate for the key.
    fn issue(&self, name: &str) -> PathBuf {
        let signer = self.signer.as_ref().unwrap();
        let csr = ["csr", "--common-name", name, "--uri", &self.uri];
        self.ca.issue(name, &succeed(signer.tedge_hsm().args(csr)))
    }

    /// The bridge's configuration, with more lines for the cloud.
    fn config(&self, more: &str) -> String {
        format!(
            "[local]\nport = {local}\n\
             [cloud.test]\nhost = \"localhost\"\nport = {cloud}\nclient_id = \"device-1\"\n\
             cert = {cert:?}\nca = {ca:?}\nkey = \"pkcs11:object=device\"\nsigner = {signer:?}\n\
             tls12 = false\nreconnect_max = 1\n{more}\n\
             [[cloud.test.out]]\ntopic = \"out/#\"\nstrip = \"out/\"\nadd = \"dev/\"\n\
             [[cloud.test.in]]\ntopic = \"cmd/#\"\nstrip = \"cmd/\"\nadd = \"in/\"\n",
            local = self.local.port,
            cloud = self.proxy.port,
            cert = self.cert,
            ca = self.ca.certificate(),
            signer = self.socket(),
        )
    }

    fn socket(&self) -> PathBuf {
        self.hsm.file("signer.sock")
    }

    /// A signer with its socket in `dir`, open to the group `gid`, as systemd's SocketGroup= does it.
    fn signer_for(&self, dir: &Path, gid: u32) -> Signer {
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

fn message(topic: &str, payload: &str) -> (String, Vec<u8>) {
    (topic.to_owned(), payload.as_bytes().to_vec())
}

/// Messages with numbers, under three topics.
fn numbered(topic: &str, count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|n| (format!("{topic}/{}", n % 3), n.to_string().into_bytes()))
        .collect()
}

fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// How many of the numbers have come.
fn distinct(subscriber: &Subscriber) -> usize {
    let messages = subscriber.messages();
    let numbers: HashSet<_> = messages
        .iter()
        .map(|(_, payload)| number(payload))
        .collect();
    numbers.len()
}

/// Panics if a number came for the first time after a higher one of its topic.
fn in_order(subscriber: &Subscriber) {
    let mut seen = HashSet::new();
    let mut highest = HashMap::new();
    for (topic, payload) in subscriber.messages() {
        let number = number(&payload);
        if seen.insert(number) {
            let before = highest.insert(topic.clone(), number);
            assert!(
                before < Some(number),
                "{number} after {before:?} of {topic}"
            );
        }
    }
}
