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
use crate::turns::Turns;

#[derive(Serialize)]
pub struct Result {
    messages: usize,
    mosquitto_per_second: f64,
    bridge_per_second: f64,
    /// The bridge's rate by that of mosquitto's.
    ratio: f64,
    /// CPU of the brokers and the bridge for a message.
    mosquitto_cpu_us: f64,
    bridge_cpu_us: f64,
    /// Most that the bridge had in memory.
    bridge_memory_kib: f64,
    bridge_size_bytes: u64,
}

#[derive(Clone, Copy)]
struct Measured {
    rate: f64,
    cpu_us: f64,
    memory_kib: f64,
}

pub fn run(args: &Args, targets: &mut Vec<Target>) -> anyhow::Result<Result> {
    let rig = Rig::start();
    let turns = Turns::measure(2, args.rounds, |way| rig.measure(way == 1))?;
    let ratio = turns.ratio(1, |measured| measured.rate);
    let size = std::fs::metadata(program("tedge-hsm-bridge"))?.len();
    let result = Result {
        messages: MESSAGES,
        mosquitto_per_second: turns.median(0, |measured| measured.rate),
        bridge_per_second: turns.median(1, |measured| measured.rate),
        ratio,
        mosquitto_cpu_us: turns.median(0, |measured| measured.cpu_us),
        bridge_cpu_us: turns.median(1, |measured| measured.cpu_us),
        bridge_memory_kib: turns.median(1, |measured| measured.memory_kib),
        bridge_size_bytes: size,
    };
    println!(
        "\nmessages of {PAYLOAD} bytes to the cloud with QoS 1 (TLS 1.3, {MESSAGES} messages)"
    );
    println!(
        "{:24} {:>7.0}/s  {:>5.0} us of CPU a message",
        "mosquitto's own bridge", result.mosquitto_per_second, result.mosquitto_cpu_us
    );
    println!(
        "{:24} {:>7.0}/s  {:>5.0} us of CPU a message  {ratio:.2} times  >=1",
        "tedge-hsm-bridge", result.bridge_per_second, result.bridge_cpu_us
    );
    println!(
        "its memory {:.0} KiB, its file {size} bytes  <=3 MB",
        result.bridge_memory_kib
    );
    targets.push(Target::at_least(
        "messages a second of the bridge, of mosquitto's".to_owned(),
        ratio,
        1.0,
        "times",
    ));
    #[allow(clippy::cast_precision_loss)]
    targets.push(Target::at_most(
        "size of tedge-hsm-bridge".to_owned(),
        size as f64 / 1e6,
        3.0,
        "MB",
    ));
    Ok(result)
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
    fn measure(&self, ours: bool) -> anyhow::Result<Measured> {
        let quiet = QUIET;
        let cloud = Mosquitto::start_with(Some(&self.ca), quiet);
        let check = Subscriber::start(cloud.port, "check", "dev/#");
        let more = if ours {
            quiet.to_owned()
        } else {
            self.mosquitto_bridge(&cloud)
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
        let pids: Vec<_> = [
            Some(cloud.pid()),
            Some(local.pid()),
            bridge.as_ref().map(Bridge::pid),
        ]
        .into_iter()
        .flatten()
        .collect();
        let cpu = || -> anyhow::Result<f64> { pids.iter().map(|pid| cpu_of(*pid)).sum() };
        let before = cpu()?;
        let started = Instant::now();
        publish_over(&mut publisher, &messages)?;
        await_some("the last message", || {
            (check.len() > MESSAGES).then_some(())
        });
        let seconds = started.elapsed().as_secs_f64();
        let used = cpu()? - before;
        ensure!(check.len() == MESSAGES + 1, "not each message once");
        let memory_kib = bridge.map_or(0.0, |mut bridge| bridge.peak_memory() as f64);
        Ok(Measured {
            rate: MESSAGES as f64 / seconds,
            cpu_us: used * 1e6 / MESSAGES as f64,
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
            "{QUIET}connection bench\naddress localhost:{}\nremote_clientid file\n\
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

/// For both ways: without the second, what is measured is how mosquitto's packets wait for acknowledgements of
/// TCP; with the default of the third, which is 20, it is how long a message takes, not how many pass.
const QUIET: &str = "log_type none\nset_tcp_nodelay true\nmax_inflight_messages 100\n";
const MESSAGES: usize = 20_000;
/// In bytes.
const PAYLOAD: usize = 100;
