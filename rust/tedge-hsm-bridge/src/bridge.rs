//! One profile: a session with the local broker, one with the cloud, and the messages in between.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubComp, Publish};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until};

use crate::broker_role::BrokerRole;
use crate::credentials::Credentials;
use crate::drops::Drops;
use crate::error::End;
use crate::forward_queue::{ForwardQueue, Refusal, Taken};
use crate::health::{Link, Report, goodbye, last_will};
use crate::packet::{Defect, Incoming, Unusable, printable};
use crate::profile::Profile;
use crate::rule::{Retain, Rule};
use crate::side::{Event, Overdue, Side};
use tedge_daemon::{CLIENT_TEXT, cut};

/// Carries the messages of one profile.
pub(crate) struct Bridge {
    profile: Profile,
    local: Side,
    cloud: Side,
    /// From the local broker to the cloud.
    out: ForwardQueue,
    /// From the cloud to the local broker.
    into: ForwardQueue,
    drops: Drops,
    credentials: Credentials,
    /// What the health message on the local broker says.
    announced: Option<Announced>,
    report: watch::Sender<Report>,
}

/// What is in a health message: the state of the cloud's connection, what is wrong with the HSM, what stops messages
/// and which subscriptions are refused.
type Announced = (Link, Option<String>, Option<String>, Option<String>);

impl Bridge {
    /// Nothing is connected yet. How it goes is told to `report`.
    pub(crate) fn new(profile: Profile, report: watch::Sender<Report>) -> Self {
        let side = |which: &str, endpoint, tls, will, rules: &[Rule]| {
            let name = format!("{}, {which}", profile.name);
            Side::new(
                name,
                Arc::new((endpoint, tls, will)),
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
            out: ForwardQueue::new(profile.window, profile.max_held),
            into: ForwardQueue::new(profile.window, profile.max_held),
            drops: Drops::new(&profile.name),
            credentials: Credentials::new(&profile),
            announced: None,
            report,
            profile,
        }
    }

    /// Carries messages until `stop` changes.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let patience = self.local.ack_timeout().min(self.cloud.ack_timeout());
        let mut tick = interval(REPORT_INTERVAL.min(patience / 5));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let every = self.profile.check_interval;
        let mut look = interval_at(Instant::now() + every, every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What waits for long is made once, not for each packet.
        let mut stopped = pin!(stop.changed());
        loop {
            tokio::select! {
                event = self.local.event() => self.happened(BrokerRole::Local, event),
                event = self.cloud.event() => self.happened(BrokerRole::Cloud, event),
                renewed = self.credentials.looked() => {
                    look.reset();
                    if renewed && self.cloud.is_up() {
                        self.cloud.renew("the certificate was renewed");
                        self.unlink(BrokerRole::Cloud, false);
                    }
                }
                _ = look.tick(), if !self.credentials.is_looking() => self.credentials.look(),
                _ = tick.tick() => {
                    self.judge_overdue();
                    self.drops.report();
                    self.report();
                }
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
                event = self.local.event() => self.happened(BrokerRole::Local, event),
                event = self.cloud.event() => self.happened(BrokerRole::Cloud, event),
                () = sleep_until(deadline) => break,
            }
            self.carry();
        }
        if let Some(session) = self.local.session() {
            let _ = session.publish(&goodbye(&self.profile.health_topic));
        }
        self.local.close();
        self.cloud.close();
        self.drops.report_all();
    }

    fn happened(&mut self, broker: BrokerRole, event: Event) {
        match event {
            Event::Ready => {}
            Event::Connected {
                present,
                certificate,
            } => {
                let queue = match broker {
                    BrokerRole::Local => {
                        self.announced = None;
                        &mut self.out
                    }
                    BrokerRole::Cloud => {
                        self.credentials.connected(certificate);
                        &mut self.into
                    }
                };
                if !present {
                    queue.forget();
                }
            }
            Event::Failed(error) => {
                if broker == BrokerRole::Cloud {
                    self.credentials.failed(error);
                }
                self.tell();
                return;
            }
        }
        if let Err(end) = self.receive(broker) {
            self.lost(broker, &end);
        }
    }

    /// Moves what can be moved.
    fn carry(&mut self) {
        for broker in BrokerRole::BOTH {
            if let Err(end) = self.send(broker) {
                self.lost(broker, &end);
            }
        }
        for broker in BrokerRole::BOTH {
            let (side, from, _) = self.parts(broker);
            if side.is_up() && from.wants_refused() {
                side.renew("there is room again for the messages that wait");
                self.unlink(broker, false);
            }
        }
        self.tell();
        for side in [&mut self.local, &mut self.cloud] {
            if let Some(session) = side.session() {
                session.settle();
            }
        }
    }

    /// A side, the queue of what comes from it, and the queue of what goes to it.
    fn parts(&mut self, broker: BrokerRole) -> (&mut Side, &mut ForwardQueue, &mut ForwardQueue) {
        match broker {
            BrokerRole::Local => (&mut self.local, &mut self.out, &mut self.into),
            BrokerRole::Cloud => (&mut self.cloud, &mut self.into, &mut self.out),
        }
    }

    /// Takes what a broker has sent.
    fn receive(&mut self, broker: BrokerRole) -> Result<(), End> {
        if let Some(session) = self.parts(broker).0.session() {
            session.read()?;
        }
        loop {
            let (side, _, to) = self.parts(broker);
            let Some(session) = side.session() else {
                return Ok(());
            };
            let unwanted = match session.next()? {
                None => return Ok(()),
                Some(Incoming::Publish(publish)) => self.take(broker, &publish),
                Some(Incoming::Unusable(message)) => self.take_unusable(broker, &message),
                Some(Incoming::PubAck(id)) => {
                    // That of an identifier which is not in flight means nothing.
                    let _ = side.acknowledged(id)? || to.acknowledged(id);
                    None
                }
                Some(Incoming::PubRel(id)) => {
                    session.send(&Packet::PubComp(PubComp::new(id)))?;
                    None
                }
                Some(Incoming::SubAck(id, codes)) => {
                    side.subscribed(id, &codes)?;
                    None
                }
                Some(Incoming::UnsubAck(id)) => {
                    side.unsubscribed(id)?;
                    None
                }
                Some(Incoming::PingResp) => None,
            };
            // What is not forwarded is acknowledged: else it would come again, and again.
            if let (Some((id, qos)), Some(session)) = (unwanted, self.parts(broker).0.session()) {
                session.acknowledge(id, qos)?;
            }
        }
    }

    /// Takes a message for the other broker. Returns its identifier and QoS if it is not to be forwarded.
    fn take(&mut self, broker: BrokerRole, publish: &Publish) -> Option<(u16, QoS)> {
        let id = (publish.qos != QoS::AtMostOnce).then_some((publish.pkid, publish.qos));
        let other_is_up = match broker {
            BrokerRole::Local => self.cloud.is_up(),
            BrokerRole::Cloud => self.local.is_up(),
        };
        let rules = match broker {
            BrokerRole::Local => &self.profile.out,
            BrokerRole::Cloud => &self.profile.into,
        };
        let Some((rule, topic)) = route(rules, &publish.topic) else {
            let topic = cut(&publish.topic, CLIENT_TEXT);
            log::debug!("{}: no rule for {topic}", self.profile.name);
            self.drops.count();
            return id;
        };
        let len = topic.len() + publish.payload.len();
        if len > self.profile.max_message {
            let message = Unusable {
                topic: printable(publish.topic.as_bytes()),
                len,
                id,
                defect: Defect::TooLong,
            };
            return self.take_unusable(broker, &message);
        }
        let retain = match rule.retain {
            Retain::Never => false,
            Retain::Keep => publish.retain,
            Retain::Always => true,
        };
        // QoS 0 is not kept for a broker that is away.
        if id.is_none() && !other_is_up {
            self.drops.count();
            return None;
        }
        let from = self.parts(broker).1;
        if from.take(publish, topic, retain) == Taken::Refused && id.is_none() {
            self.drops.count();
        }
        None
    }

    /// A message that can't be forwarded. Returns its identifier and QoS if it is to be acknowledged: else the broker
    /// keeps it, and the order is kept by taking none that comes behind it.
    fn take_unusable(&mut self, broker: BrokerRole, message: &Unusable) -> Option<(u16, QoS)> {
        let drops = message.defect == Defect::TooLong || self.profile.drop_refused > 0;
        if drops || message.id.is_none() {
            self.drops.tell(broker, message);
            return message.id;
        }
        let (side, from, _) = self.parts(broker);
        // It comes again with each connection, and behind itself.
        if side.stopped_by().is_none() {
            from.refuse();
            side.stop(format!(
                "{broker} sent a message that {}: what comes behind it waits, unless drop_refused is set",
                message.description()
            ));
        }
        None
    }

    /// Gives a broker what is for it: acknowledgements first, they make room.
    fn send(&mut self, broker: BrokerRole) -> Result<(), End> {
        let (side, from, to) = self.parts(broker);
        let Some(session) = side.session() else {
            return Ok(());
        };
        while let Some((id, qos)) = from.next_to_acknowledge() {
            session.acknowledge(id, qos)?;
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

    fn lost(&mut self, broker: BrokerRole, end: &End) {
        self.parts(broker).0.lost(&end.why);
        self.unlink(broker, end.closed);
        if end.closed {
            self.judge_refused(broker);
        }
    }

    /// What the connection of a side meant is over. `closed` is whether the broker ended it.
    fn unlink(&mut self, broker: BrokerRole, closed: bool) {
        let (_, from, to) = self.parts(broker);
        from.source_lost();
        to.sink_lost(closed);
    }

    /// Gives up connections over which an answer is overdue: what was lost is sent again over the next.
    fn judge_overdue(&mut self) {
        for broker in BrokerRole::BOTH {
            let (side, _, to) = self.parts(broker);
            let seconds = side.ack_timeout().as_secs();
            match side.overdue(to.oldest().map(|(number, _)| number)) {
                None => {}
                Some(Overdue::Message) => {
                    to.overdue();
                    let why = to.refused().map(|(publish, ..)| named(publish));
                    let why = format!(
                        "no acknowledgement of {} in {seconds} s",
                        why.unwrap_or_default()
                    );
                    self.lost(broker, &End::broken(why));
                    self.judge_refused(broker);
                }
                Some(Overdue::Packet(name)) => {
                    let why = format!("no answer to {name} in {seconds} s");
                    self.lost(broker, &End::broken(why));
                }
            }
        }
    }

    /// A broker that speaks MQTT 3.1.1 refuses a message by closing the connection, or says nothing, and would do so
    /// for ever.
    fn judge_refused(&mut self, broker: BrokerRole) {
        let (name, limit) = (self.profile.name.clone(), self.profile.drop_refused);
        let (_, _, to) = self.parts(broker);
        let Some((publish, times, refusal)) = to.refused() else {
            return;
        };
        let drops = times == limit;
        if times == REFUSALS || drops {
            log::error!(
                "{name}: {}, {times} times now: {}",
                refused(broker, publish, refusal),
                if drops {
                    "dropped"
                } else {
                    "nothing passes until it takes it"
                }
            );
        }
        if drops {
            to.drop_refused();
            self.drops.count();
        }
    }

    /// Tells the local broker and the service when something has changed.
    fn tell(&mut self) {
        if self.local.is_up() {
            let now = (
                self.cloud.link(),
                self.credentials.hsm().cloned(),
                self.stopped(),
                self.refused(),
            );
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
            && before.hsm.as_ref() == self.credentials.hsm()
            && before.stopped == self.stopped()
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

    /// What stops messages although both connections stand.
    fn stopped(&self) -> Option<String> {
        let queues = [
            (BrokerRole::Local, &self.into),
            (BrokerRole::Cloud, &self.out),
        ];
        let refused = queues.into_iter().find_map(|(broker, queue)| {
            let (publish, times, refusal) = queue.refused()?;
            // A broker that ends closes connections, too.
            let counts = refusal == Refusal::Silent || times >= REFUSALS;
            counts.then(|| refused(broker, publish, refusal))
        });
        let mut stopped = [&self.local, &self.cloud].into_iter();
        refused.or_else(|| stopped.find_map(Side::stopped_by).cloned())
    }

    fn now(&self) -> Report {
        Report {
            local: self.local.link(),
            cloud: self.cloud.link(),
            hsm: self.credentials.hsm().cloned(),
            identity: self.credentials.identity().clone(),
            stopped: self.stopped(),
            refused: self.refused(),
            handshake: self.cloud.handshake(),
            out: self.out.delivered(),
            into: self.into.delivered(),
            held: self.out.len() + self.into.len(),
            dropped: self.drops.total(),
        }
    }
}

/// The first rule for a topic, and the topic at the other broker.
fn route<'a>(rules: &'a [Rule], topic: &str) -> Option<(&'a Rule, String)> {
    rules
        .iter()
        .find_map(|rule| Some((rule, rule.target(topic)?)))
}

/// How a broker does not take a message.
fn refused(broker: BrokerRole, publish: &Publish, refusal: Refusal) -> String {
    let what = match refusal {
        Refusal::Closed => "closes the connection whenever it is sent",
        Refusal::Silent => "does not acknowledge",
    };
    format!("{broker} {what} {}", named(publish))
}

/// A message, for people.
fn named(publish: &Publish) -> String {
    format!(
        "the message on {} with {} bytes",
        printable(publish.topic.as_bytes()),
        publish.payload.len()
    )
}

/// How often the counters are told.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often a broker closes the connection over the same message before that is an error in the log.
const REFUSALS: u32 = 3;
/// For messages in flight to arrive when the bridge is stopped.
const STOP_LIMIT: Duration = Duration::from_secs(1);
