//! Messages a second from a publisher at the local broker to a subscriber at the cloud, with QoS 1 all the
//! way: through tedge-hsm-bridge with the key behind the signer, and through mosquitto's own bridge with a
//! key in a file.

use std::time::Instant;

use anyhow::ensure;
use serde::Serialize;
use support::mqtt::{Mqtt, Subscriber, await_some, publish_all, publish_over};
use support::{Bridge, Ca, Hsm, Kind, Mosquitto, Signer, program, succeed};

use crate::Args;
use crate::load::cpu_of;
use crate::target::Target;
use crate::turns::{Spread, Turns, median};

#[derive(Serialize)]
pub struct Result {
    messages: usize,
    settings: Vec<Row>,
    /// Most that the bridge had in memory.
    bridge_memory_kib: f64,
    bridge_size_bytes: u64,
}

/// With the same settings of the brokers.
#[derive(Serialize)]
struct Row {
    settings: &'static str,
    mosquitto: Figures,
    bridge: Figures,
    /// The bridge's rate by that of mosquitto's.
    ratio: Spread,
}

#[derive(Serialize)]
struct Figures {
    per_second: Spread,
    /// From the publisher to the subscriber, of one message at a time.
    latency_us: f64,
    /// CPU for a message: of the local broker, the cloud's broker and the bridge, if it is not in one of them.
    cpu_us: [f64; 3],
}

struct Measured {
    rate: f64,
    latency_us: f64,
    cpu_us: [f64; 3],
    memory_kib: f64,
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Result> {
    println!(
        "\nmessages of {PAYLOAD} bytes to the cloud with QoS 1 (TLS 1.3, {MESSAGES} messages; median, lowest \
         and highest)"
    );
    let rig = Rig::start();
    let size = std::fs::metadata(program("tedge-hsm-bridge"))?.len();
    let mut result = Result {
        messages: MESSAGES,
        settings: Vec::new(),
        bridge_memory_kib: 0.0,
        bridge_size_bytes: size,
    };
    for (name, settings) in SETTINGS {
        let rounds = args.rounds * 2;
        let turns = Turns::measure(2, rounds, |way| rig.measure(settings, way == 1))?;
        let row = Row::new(name, &turns);
        println!("{name}");
        row.mosquitto.print("  mosquitto's own bridge");
        row.bridge.print("  tedge-hsm-bridge");
        println!("  {:33} {:.2} times  >=1", "", row.ratio);
        targets.push(Target::at_least(
            format!("messages a second of the bridge, of mosquitto's, {name}"),
            row.ratio.median,
            1.0,
            "times",
        ));
        let memory = turns.of(1).iter().map(|measured| measured.memory_kib);
        result.bridge_memory_kib = memory.fold(result.bridge_memory_kib, f64::max);
        result.settings.push(row);
    }
    println!(
        "its memory {:.0} KiB, its file {size} bytes  <=3 MB",
        result.bridge_memory_kib
    );
    #[allow(clippy::cast_precision_loss)]
    targets.push(Target::at_most(
        "size of tedge-hsm-bridge".to_owned(),
        size as f64 / 1e6,
        3.0,
        "MB",
    ));
    Ok(result)
}

impl Row {
    fn new(settings: &'static str, turns: &Turns<Measured>) -> Self {
        Self {
            settings,
            mosquitto: Figures::new(turns, 0),
            bridge: Figures::new(turns, 1),
            ratio: Spread::of(turns.ratios(1, |measured| measured.rate)),
        }
    }
}

impl Figures {
    fn new(turns: &Turns<Measured>, way: usize) -> Self {
        let cpu = |of: usize| turns.median(way, |measured| measured.cpu_us[of]);
        Self {
            per_second: Spread::of(turns.of(way).iter().map(|measured| measured.rate)),
            latency_us: turns.median(way, |measured| measured.latency_us),
            cpu_us: [cpu(0), cpu(1), cpu(2)],
        }
    }

    fn print(&self, name: &str) {
        let [local, cloud, bridge] = self.cpu_us;
        println!(
            "{name:26} {:>8.0} /s  {:>5.0} us for one  CPU {local:.1} + {cloud:.1} + {bridge:.1} us",
            self.per_second, self.latency_us
        );
    }
}

/// What both have in common: the certificates, and our signer.
struct Rig {
    ca: Ca,
    _signer: Signer,
    hsm: Hsm,
}

impl Rig {
    fn start() -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("device", "p256");
        let signer = Signer::start(&hsm);
        let ca = Ca::new();
        let mut request = signer.tedge_hsm();
        request.args(["csr", "--common-name", "device", "--uri", &uri]);
        ca.issue("device", &succeed(&mut request));
        let mut request = ca.openssl();
        request.args([
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        request.args(["-nodes", "-keyout", "file.key", "-subj", "/CN=file"]);
        ca.issue("file", &succeed(&mut request));
        Self {
            ca,
            _signer: signer,
            hsm,
        }
    }

    /// New brokers each time: none has what was left of the time before.
    #[allow(clippy::cast_precision_loss)]
    fn measure(&self, settings: &str, ours: bool) -> anyhow::Result<Measured> {
        let cloud = Mosquitto::start_with(Some(&self.ca), settings);
        let check = Subscriber::start(cloud.port, "check", "dev/x");
        let more = if ours {
            settings.to_owned()
        } else {
            settings.to_owned() + &self.mosquitto_bridge(&cloud)
        };
        let local = Mosquitto::start_with(None, &more);
        let bridge = ours.then(|| {
            let bridge = Bridge::spawn(self.hsm.dir.path(), &self.configuration(&local, &cloud));
            bridge.await_ready();
            bridge
        });
        // mosquitto does not say when its bridge stands.
        let message = |n: usize| ("out/x".to_owned(), format!("{n:PAYLOAD$}").into_bytes());
        publish_all(local.port, "first", &[message(0)]);
        await_some("the first message", || (!check.is_empty()).then_some(()));
        let messages: Vec<_> = (0..MESSAGES).map(message).collect();
        let mut publisher = Mqtt::connect(local.port, "publisher")?;
        let cpu = || -> anyhow::Result<[f64; 3]> {
            let bridge = bridge
                .as_ref()
                .map_or(Ok(0.0), |bridge| cpu_of(bridge.pid()))?;
            Ok([cpu_of(local.pid())?, cpu_of(cloud.pid())?, bridge])
        };
        let before = cpu()?;
        let started = Instant::now();
        publish_over(&mut publisher, &messages)?;
        await_some("the last message", || {
            (check.len() > MESSAGES).then_some(())
        });
        let seconds = started.elapsed().as_secs_f64();
        let after = cpu()?;
        ensure!(check.len() == MESSAGES + 1, "not each message once");
        let latency_us = latency(&mut publisher, &cloud)?;
        let memory_kib = bridge.map_or(0.0, |mut bridge| bridge.peak_memory() as f64);
        Ok(Measured {
            rate: MESSAGES as f64 / seconds,
            latency_us,
            cpu_us: std::array::from_fn(|of| (after[of] - before[of]) * 1e6 / MESSAGES as f64),
            memory_kib,
        })
    }

    fn configuration(&self, local: &Mosquitto, cloud: &Mosquitto) -> String {
        format!(
            "[local]\nport = {}\n[cloud.bench]\nhost = \"localhost\"\nport = {}\nclient_id = \"device\"\n\
             cert = {:?}\nca = {:?}\nsigner = {:?}\n\
             out = [{{ topic = \"out/#\", strip = \"out/\", add = \"dev/\" }}]\n",
            local.port,
            cloud.tls_port,
            self.ca.file("device.pem").display(),
            self.ca.certificate().display(),
            self.hsm.file("signer.sock").display(),
        )
    }

    fn mosquitto_bridge(&self, cloud: &Mosquitto) -> String {
        format!(
            "connection bench\naddress localhost:{}\nremote_clientid file\n\
             cleansession false\nnotifications false\nbridge_protocol_version mqttv311\n\
             bridge_cafile {}\nbridge_certfile {}\nbridge_keyfile {}\nbridge_tls_version tlsv1.3\n\
             topic # out 1 out/ dev/\n",
            cloud.tls_port,
            self.ca.certificate().display(),
            self.ca.file("file.pem").display(),
            self.ca.file("file.key").display(),
        )
    }
}

/// One message at a time, the median.
fn latency(publisher: &mut Mqtt, cloud: &Mosquitto) -> anyhow::Result<f64> {
    let mut subscriber = Mqtt::connect(cloud.port, "latency")?;
    subscriber.subscribe("dev/one")?;
    subscriber.receive()?;
    let mut times = Vec::new();
    for n in 0..SINGLE {
        let started = Instant::now();
        let message = ("out/one".to_owned(), format!("{n:PAYLOAD$}").into_bytes());
        publish_over(publisher, &[message])?;
        subscriber.message()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

/// The brokers' settings, the same for both ways: as mosquitto is without a configuration, and as it passes
/// most.
const SETTINGS: [(&str, &str); 2] = [
    ("with mosquitto's defaults", "log_type none\n"),
    (
        "with 100 in flight and without Nagle's algorithm",
        "log_type none\nset_tcp_nodelay true\nmax_inflight_messages 100\n",
    ),
];
const MESSAGES: usize = 20_000;
/// For the latency.
const SINGLE: usize = 200;
/// In bytes.
const PAYLOAD: usize = 100;
