//! One profile: a session with the local broker, one with the cloud, and the messages in between.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, Publish};
use rumqttc::mqttbytes::{self, QoS};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until};

use crate::connect::{ConnectError, explain};
use crate::health::{Link, Report, goodbye, last_will};
use crate::lane::{Lane, Taken};
use crate::profile::Profile;
use crate::rule::{Retain, Rule};
use crate::session::Incoming;
use crate::side::{Event, Side};
use crate::tls;

/// Carries the messages of one profile.
pub(crate) struct Bridge {
    profile: Profile,
    local: Side,
    cloud: Side,
    /// From the local broker to the cloud.
    out: Lane,
    /// From the cloud to the local broker.
    into: Lane,
    dropped: u64,
    /// Why the key could not be used, if it could not.
    hsm: Option<String>,
    /// What the cloud connection was made with.
    certificate: Option<Vec<u8>>,
    /// What is wrong with the certificate, as it was told.
    complaint: Option<String>,
    check: Option<JoinHandle<Result<(), ConnectError>>>,
    /// What the health message on the local broker says.
    announced: Option<(Link, Option<String>, Option<String>)>,
    report: watch::Sender<Report>,
}

/// Which of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Local,
    Cloud,
}

impl Bridge {
    /// Nothing is connected yet. How it goes is told to `report`.
    pub(crate) fn new(profile: Profile, report: watch::Sender<Report>) -> Self {
        let side = |which: &str, broker, tls, will, rules: &[Rule]| {
            let name = format!("{}, {which}", profile.name);
            Side::new(
                name,
                Arc::new((broker, tls, will)),
                rules,
                profile.max_message,
            )
        };
        let will = last_will(&profile.health_topic);
        let (local, cloud) = (profile.local.clone(), profile.cloud.clone());
        Self {
            local: side("local broker", local, None, Some(will), &profile.out),
            cloud: side(
                "cloud",
                cloud,
                Some(profile.tls.clone()),
                None,
                &profile.into,
            ),
            out: Lane::new(profile.window, profile.max_held),
            into: Lane::new(profile.window, profile.max_held),
            dropped: 0,
            hsm: None,
            certificate: None,
            complaint: None,
            check: None,
            announced: None,
            report,
            profile,
        }
    }

    /// Carries messages until `stop` changes.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(REPORT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let every = self.profile.check_interval;
        let mut check = interval_at(Instant::now() + every, every);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What waits for long is made once, not for each packet.
        let mut stopped = pin!(stop.changed());
        loop {
            tokio::select! {
                event = self.local.event() => self.happened(Which::Local, event),
                event = self.cloud.event() => self.happened(Which::Cloud, event),
                result = checked(&mut self.check) => {
                    self.check = None;
                    check.reset();
                    self.checked(result);
                }
                _ = check.tick(), if self.check.is_none() => {
                    let tls = self.profile.tls.clone();
                    self.check = Some(spawn_blocking(move || tls::check(&tls)));
                }
                _ = tick.tick() => self.report(),
                _ = &mut stopped => break,
            }
            self.carry();
        }
        self.stop().await;
    }

    /// Lets what is in flight arrive, so that it need not be sent again, and says goodbye.
    async fn stop(mut self) {
        self.out.refuse();
        self.into.refuse();
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            let out = self.cloud.is_up() && self.out.in_flight() > 0;
            let into = self.local.is_up() && self.into.in_flight() > 0;
            if !out && !into {
                break;
            }
            tokio::select! {
                event = self.local.event() => self.happened(Which::Local, event),
                event = self.cloud.event() => self.happened(Which::Cloud, event),
                () = sleep_until(deadline) => break,
            }
            self.carry();
        }
        if let Some(session) = self.local.session() {
            let _ = session.publish(&goodbye(&self.profile.health_topic));
        }
        self.local.close();
        self.cloud.close();
    }

    fn happened(&mut self, which: Which, event: Event) {
        match event {
            Event::Ready => {}
            Event::Connected {
                present,
                certificate,
            } => {
                let lane = match which {
                    Which::Local => {
                        self.announced = None;
                        &mut self.out
                    }
                    Which::Cloud => {
                        self.hsm = None;
                        self.certificate = certificate;
                        &mut self.into
                    }
                };
                if !present {
                    lane.forget();
                }
            }
            Event::Failed(error) => {
                match (which, error) {
                    (Which::Cloud, ConnectError::Key(reason)) => self.hsm = Some(reason),
                    // It had come as far as the network: the signer had told of the key.
                    (
                        Which::Cloud,
                        ConnectError::Socket(..) | ConnectError::Tls(_) | ConnectError::Refused(_),
                    ) => self.hsm = None,
                    _ => {}
                }
                self.tell();
                return;
            }
        }
        if let Err(end) = self.receive(which) {
            self.lost(which, &end);
        }
    }

    /// Moves what can be moved.
    fn carry(&mut self) {
        for which in [Which::Cloud, Which::Local] {
            if let Err(end) = self.send(which) {
                self.lost(which, &end);
            }
        }
        for which in [Which::Local, Which::Cloud] {
            let (side, from, _) = self.parts(which);
            if side.is_up() && from.wants_refused() {
                side.renew("there is room again for what was not taken");
                self.unlink(which, false);
            }
        }
        self.tell();
        for side in [&mut self.local, &mut self.cloud] {
            if let Some(session) = side.session() {
                session.settle();
            }
        }
    }

    /// A side, the lane of what comes from it, and the lane of what goes to it.
    fn parts(&mut self, which: Which) -> (&mut Side, &mut Lane, &mut Lane) {
        match which {
            Which::Local => (&mut self.local, &mut self.out, &mut self.into),
            Which::Cloud => (&mut self.cloud, &mut self.into, &mut self.out),
        }
    }

    /// Takes what a broker has sent.
    fn receive(&mut self, which: Which) -> Result<(), End> {
        if let Some(session) = self.parts(which).0.session() {
            session.read()?;
        }
        loop {
            let (side, _, to) = self.parts(which);
            let Some(session) = side.session() else {
                return Ok(());
            };
            let unwanted = match session.next()? {
                None => return Ok(()),
                Some(Incoming::Packet(Packet::Publish(publish))) => self.take(which, &publish),
                Some(Incoming::TooLong { topic, len, id }) => {
                    self.drop_too_long(&topic, len);
                    id
                }
                Some(Incoming::Packet(Packet::PubAck(ack))) => {
                    // That of an identifier which is not in flight means nothing.
                    let _ = side.acknowledged(ack.pkid)? || to.acknowledged(ack.pkid);
                    None
                }
                Some(Incoming::Packet(Packet::SubAck(ack))) => {
                    side.subscribed(&ack)?;
                    None
                }
                Some(Incoming::Packet(Packet::PingResp)) => None,
                Some(Incoming::Packet(other)) => {
                    return Err(End::broken(format!(
                        "the broker sent an unexpected {other:?}"
                    )));
                }
            };
            // What is not forwarded is acknowledged: else it would come again, and again.
            if let (Some(id), Some(session)) = (unwanted, self.parts(which).0.session()) {
                session.acknowledge(id)?;
            }
        }
    }

    /// Takes a message for the other broker. Returns its identifier if it is not to be forwarded.
    fn take(&mut self, which: Which, publish: &Publish) -> Option<u16> {
        let id = (publish.qos != QoS::AtMostOnce).then_some(publish.pkid);
        let other_is_up = match which {
            Which::Local => self.cloud.is_up(),
            Which::Cloud => self.local.is_up(),
        };
        let rules = match which {
            Which::Local => &self.profile.out,
            Which::Cloud => &self.profile.into,
        };
        let Some((rule, topic)) = route(rules, &publish.topic) else {
            log::debug!("{}: no rule for {}", self.profile.name, publish.topic);
            self.dropped += 1;
            return id;
        };
        let len = topic.len() + publish.payload.len();
        if len > self.profile.max_message {
            self.drop_too_long(&publish.topic, len);
            return id;
        }
        let retain = match rule.retain {
            Retain::Never => false,
            Retain::Keep => publish.retain,
            Retain::Always => true,
        };
        // QoS 0 is not kept for a broker that is away.
        if id.is_none() && !other_is_up {
            self.dropped += 1;
            return None;
        }
        let from = self.parts(which).1;
        if from.take(publish, topic, retain) == Taken::Refused && id.is_none() {
            self.dropped += 1;
        }
        None
    }

    fn drop_too_long(&mut self, topic: &str, len: usize) {
        log::error!(
            "{}: a message on {topic} with {len} bytes is longer than max_message: dropped",
            self.profile.name
        );
        self.dropped += 1;
    }

    /// Gives a broker what is for it: acknowledgements first, they make room.
    fn send(&mut self, which: Which) -> Result<(), End> {
        let (side, from, to) = self.parts(which);
        let Some(session) = side.session() else {
            return Ok(());
        };
        while let Some(id) = from.next_to_acknowledge() {
            session.acknowledge(id)?;
        }
        loop {
            while session.has_room() {
                let Some(publish) = to.next_to_send() else {
                    break;
                };
                session.publish(publish)?;
            }
            session.flush()?;
            if !session.has_room() || !to.has_more() {
                return Ok(());
            }
        }
    }

    fn lost(&mut self, which: Which, end: &End) {
        self.parts(which).0.lost(&end.why);
        self.unlink(which, end.closed);
        if end.closed {
            self.judge_refused(which);
        }
    }

    /// What the connection of a side meant is over. `closed` is whether the broker ended it.
    fn unlink(&mut self, which: Which, closed: bool) {
        let (_, from, to) = self.parts(which);
        from.source_lost();
        to.sink_lost(closed);
    }

    /// A broker that speaks MQTT 3.1.1 refuses a message by closing the connection, and would do so for ever.
    fn judge_refused(&mut self, which: Which) {
        let (name, limit) = (self.profile.name.clone(), self.profile.drop_refused);
        let (_, _, to) = self.parts(which);
        let Some((publish, times)) = to.refused() else {
            return;
        };
        let broker = match which {
            Which::Local => "the local broker",
            Which::Cloud => "the cloud",
        };
        let (topic, len) = (&publish.topic, publish.payload.len());
        let drops = times == limit;
        if times == REFUSALS || drops {
            log::error!(
                "{name}: {broker} closes the connection whenever it is sent the message on {topic} with {len} \
                 bytes, {times} times now: {}",
                if drops {
                    "dropped"
                } else {
                    "nothing passes until it takes it"
                }
            );
        }
        if drops {
            to.drop_refused();
            self.dropped += 1;
        }
    }

    /// The key and the certificate as they are now, while the connection stands.
    fn checked(&mut self, result: Result<(), ConnectError>) {
        match result {
            Err(ConnectError::Key(reason)) => {
                if self.hsm.is_none() {
                    log::warn!("{}: the HSM cannot be used: {reason}", self.profile.name);
                }
                self.hsm = Some(reason);
            }
            other => {
                if self.hsm.take().is_some() {
                    log::info!("{}: the HSM can be used again", self.profile.name);
                }
                let complaint = other.err().map(|error| error.to_string());
                if let Some(complaint) = &complaint {
                    // It shows when it is needed; until then the old one is as good as it was.
                    if self.complaint.as_ref() != Some(complaint) {
                        log::warn!("{}: {complaint}", self.profile.name);
                    }
                }
                self.complaint = complaint;
                if self.complaint.is_some() {
                    return;
                }
                let now = std::fs::read(&self.profile.tls.cert).ok();
                if self.cloud.is_up() && now.is_some() && now != self.certificate {
                    self.cloud.renew("the certificate was renewed");
                    self.unlink(Which::Cloud, false);
                }
            }
        }
    }

    /// Tells the local broker and the service when something has changed.
    fn tell(&mut self) {
        if self.local.is_up() {
            let now = (self.cloud.link(), self.hsm.clone(), self.refused());
            if self.announced.as_ref() != Some(&now) {
                let message = self.now().message(&self.profile.health_topic);
                self.announced = Some(now);
                // What can't be written shows at the next write.
                if self.local.announce(message).is_ok() {
                    let _ = self.local.session().map(crate::session::Session::flush);
                }
            }
        }
        let before = self.report.borrow();
        let same = before.local == self.local.link()
            && before.cloud == self.cloud.link()
            && before.hsm == self.hsm
            && before.refused == self.refused();
        drop(before);
        if !same {
            self.report();
        }
    }

    fn report(&self) {
        self.report.send_replace(self.now());
    }

    fn refused(&self) -> Option<String> {
        let filters = [self.local.refused(), self.cloud.refused()].concat();
        (!filters.is_empty()).then(|| format!("subscription refused: {}", filters.join(", ")))
    }

    fn now(&self) -> Report {
        Report {
            local: self.local.link(),
            cloud: self.cloud.link(),
            hsm: self.hsm.clone(),
            refused: self.refused(),
            out: self.out.delivered(),
            into: self.into.delivered(),
            held: self.out.len() + self.into.len(),
            dropped: self.dropped,
        }
    }
}

/// The first rule for a topic, and the topic at the other broker.
fn route<'a>(rules: &'a [Rule], topic: &str) -> Option<(&'a Rule, String)> {
    rules
        .iter()
        .find_map(|rule| Some((rule, rule.target(topic)?)))
}

async fn checked(
    check: &mut Option<JoinHandle<Result<(), ConnectError>>>,
) -> Result<(), ConnectError> {
    match check {
        Some(check) => check
            .await
            .unwrap_or_else(|error| Err(ConnectError::Key(error.to_string()))),
        None => std::future::pending().await,
    }
}

/// How a connection came to its end.
struct End {
    why: String,
    /// By the broker.
    closed: bool,
}

impl End {
    fn broken(why: String) -> Self {
        Self { why, closed: false }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self {
            why: explain(&error),
            closed: matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
        }
    }
}

impl From<mqttbytes::Error> for End {
    fn from(error: mqttbytes::Error) -> Self {
        Self::broken(error.to_string())
    }
}

/// How often the counters are told.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often a broker closes the connection over the same message before that is an error in the log.
const REFUSALS: u32 = 3;
/// For messages in flight to arrive when the bridge is stopped.
const STOP_LIMIT: Duration = Duration::from_secs(1);
