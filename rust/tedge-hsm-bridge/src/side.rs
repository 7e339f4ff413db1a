//! One of the two brokers, connected or not.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::mqttbytes::v4::{
    Packet, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode, Unsubscribe,
};
use tedge_daemon::{OWN_TEXT, cut};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::connect::{Connected, Endpoint, connect};
use crate::error::{ConnectError, End};
use crate::forward_queue::MAX_ID;
use crate::handshake::Handshake;
use crate::health::Link;
use crate::packet::Violation;
use crate::reconnect_pause::ReconnectPause;
use crate::rule::{Retain, Rule};
use crate::session::Session;

/// One of the two brokers.
pub(crate) struct Side {
    /// For the log.
    name: String,
    endpoint: Endpoint,
    reconnect_pause: ReconnectPause,
    phase: Phase,
    filters: Vec<SubscribeFilter>,
    /// Those of them under which the RETAIN flag has to come as it was published.
    keeps: Vec<String>,
    /// Whether the broker does not know how to send that.
    keeps_refused: bool,
    /// What is still to be subscribed to or unsubscribed from, the first of it under way.
    subscribing: VecDeque<Step>,
    /// Since when the broker owes an answer to the first step.
    asked: Instant,
    /// Whether the session has all subscriptions, made by this process: before, it may have what an earlier
    /// configuration said.
    subscribed: bool,
    /// Filters that the broker refused to subscribe to.
    refused: Vec<String>,
    last_error: Option<String>,
    max_message: usize,
    /// A message of the bridge's own, to be published when the one before is acknowledged.
    own: Option<Publish>,
    /// Since when the broker owes the acknowledgement of the one before.
    own_in_flight: Option<Instant>,
    /// The oldest message that the broker has not acknowledged, by its number, and since when it is the oldest.
    oldest: Option<(u64, Instant)>,
    /// Of the last connection.
    handshake: Option<Handshake>,
    /// What the broker sent that stops all that comes behind it.
    stopped_by: Option<String>,
    /// The same, as it was told last.
    stop_told: Option<String>,
}

/// One packet on the way to the subscriptions that there should be.
enum Step {
    Unsubscribe(Vec<String>),
    Subscribe(Vec<SubscribeFilter>),
}

/// What a broker has not answered in time.
pub(crate) enum Overdue {
    /// The oldest message that was forwarded to it.
    Message,
    /// A packet of the bridge's own.
    Packet(&'static str),
}

enum Phase {
    Waiting(Instant),
    Connecting(JoinHandle<Result<Connected, ConnectError>>),
    Up(Box<Session>),
}

/// What happened.
pub(crate) enum Event {
    /// The session can be read or written, or it is time to ping.
    Ready,
    /// There is a new session.
    Connected {
        /// Whether the broker goes on with the one before.
        present: bool,
        /// The certificate that was used.
        certificate: Option<Vec<u8>>,
    },
    Failed(ConnectError),
}

impl Side {
    pub(crate) fn new(
        name: String,
        endpoint: Endpoint,
        rules: &[Rule],
        max_message: usize,
    ) -> Self {
        let filters = rules
            .iter()
            .map(|rule| SubscribeFilter::new(rule.filter.clone(), rule.qos))
            .collect();
        let keeps = rules.iter().filter(|rule| rule.retain == Retain::Keep);
        Self {
            keeps: keeps.map(|rule| rule.filter.clone()).collect(),
            keeps_refused: false,
            asked: Instant::now(),
            oldest: None,
            handshake: None,
            stopped_by: None,
            stop_told: None,
            name,
            reconnect_pause: ReconnectPause::new(endpoint.0.reconnect_max),
            endpoint,
            phase: Phase::Waiting(Instant::now()),
            filters,
            subscribing: VecDeque::new(),
            subscribed: false,
            refused: Vec::new(),
            last_error: None,
            max_message,
            own: None,
            own_in_flight: None,
        }
    }

    /// Waits for something to happen; makes the connection when it is time to.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match &mut self.phase {
                Phase::Waiting(until) => {
                    sleep_until(*until).await;
                    let endpoint = self.endpoint.clone();
                    let as_published = !self.keeps.is_empty() && !self.keeps_refused;
                    let attempt = spawn_blocking(move || connect(&endpoint, as_published));
                    self.phase = Phase::Connecting(attempt);
                }
                Phase::Connecting(attempt) => {
                    let result = match attempt.await {
                        Ok(result) => result,
                        // It does not panic, nor is it aborted.
                        Err(error) => Err(ConnectError::NoAnswer(error.to_string())),
                    };
                    return match result.and_then(|connected| self.up(connected)) {
                        Ok(event) => event,
                        Err(error) => {
                            self.pause(&error.to_string());
                            Event::Failed(error)
                        }
                    };
                }
                Phase::Up(session) => {
                    // An error shows again when it is read.
                    let _ = session.ready().await;
                    return Event::Ready;
                }
            }
        }
    }

    fn up(&mut self, connected: Connected) -> Result<Event, ConnectError> {
        let present = connected.session_present;
        let tls = connected.handshake.map(|handshake| handshake.to_string());
        log::info!(
            "{}: connected, {}, {}",
            self.name,
            tls.as_deref().unwrap_or("without TLS"),
            if present {
                "the session goes on"
            } else {
                "a new session"
            }
        );
        if connected.is_second {
            log::warn!(
                "{}: the broker, or something before it, did not answer the ClientHello with X25519MLKEM768, and answers \
                 one without: somebody who records this connection can read it with a future quantum computer; \
                 post_quantum = \"require\" refuses that, \"off\" leaves the first attempt out",
                self.name
            );
        }
        self.handshake = connected.handshake;
        let certificate = connected.certificate.clone();
        if !connected.as_published && !self.keeps.is_empty() && !self.keeps_refused {
            self.keeps_refused = true;
            log::error!(
                "{}: the broker does not send the RETAIN flag as it was published: retain = \"keep\" can't be kept, \
                 use never or always",
                self.name
            );
        }
        let failed = |error: &dyn std::fmt::Display| ConnectError::NoAnswer(error.to_string());
        let keep_alive = self.endpoint.0.keep_alive;
        let mut session = Session::new(connected, keep_alive, self.max_message)
            .map_err(|error| failed(&error))?;
        self.own_in_flight = None;
        self.oldest = None;
        self.stopped_by = None;
        self.subscribing.clear();
        if !present || !self.subscribed {
            // Not again and again: brokers answer with all that they have retained.
            self.subscribed = false;
            self.refused.clear();
            self.subscribing = self.steps(present);
            self.asked = Instant::now();
            if let Some(first) = self.subscribing.front() {
                session
                    .send(&first.packet())
                    .map_err(|error| failed(&error))?;
            } else {
                self.subscribed = true;
            }
        }
        if self.subscribing.is_empty() {
            self.last_error = None;
        }
        self.phase = Phase::Up(Box::new(session));
        Ok(Event::Connected {
            present,
            certificate,
        })
    }

    /// All that has to be sent for the subscriptions to be as they should be.
    fn steps(&mut self, present: bool) -> VecDeque<Step> {
        let mut steps = VecDeque::new();
        // mosquitto takes up new options of a subscription only when it is made anew; and one that can't be kept
        // is not to be served.
        if present {
            let keeps = self.keeps.chunks(FILTERS);
            steps.extend(keeps.map(|filters| Step::Unsubscribe(filters.to_vec())));
        }
        let mut wanted = self.filters.clone();
        if self.keeps_refused {
            wanted.retain(|filter| !self.keeps.contains(&filter.path));
            self.refused.clone_from(&self.keeps);
        }
        steps.extend(
            wanted
                .chunks(FILTERS)
                .map(|filters| Step::Subscribe(filters.to_vec())),
        );
        steps
    }

    /// The session, if there is one.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Up(session) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// The connection broke: the next one is made after a pause.
    pub(crate) fn lost(&mut self, why: &str) {
        if self
            .session()
            .is_some_and(|session| session.age() >= OF_USE)
        {
            self.reconnect_pause.reset();
        }
        self.pause(why);
    }

    /// Gives the connection up for a new one, at once.
    pub(crate) fn renew(&mut self, why: &str) {
        log::info!("{}: reconnecting: {why}", self.name);
        let waiting = Phase::Waiting(Instant::now());
        if let Phase::Up(session) = std::mem::replace(&mut self.phase, waiting) {
            session.close();
        }
    }

    /// The bridge is about to end.
    pub(crate) fn close(&mut self) {
        let never = Phase::Waiting(Instant::now() + Duration::from_secs(3600));
        if let Phase::Up(session) = std::mem::replace(&mut self.phase, never) {
            session.close();
        }
    }

    fn pause(&mut self, why: &str) {
        // It may quote a certificate, or an answer.
        let why = &*cut(why, OWN_TEXT);
        let pause = self.reconnect_pause.next();
        // Hours of the same are one line.
        let level = if self.last_error.as_deref() == Some(why) {
            log::Level::Debug
        } else {
            log::Level::Warn
        };
        let seconds = pause.as_secs_f64();
        log::log!(
            level,
            "{}: {why}; trying again in {seconds:.1} s",
            self.name
        );
        self.last_error = Some(why.to_owned());
        self.phase = Phase::Waiting(Instant::now() + pause);
    }

    /// Publishes a message of the bridge's own. One that still waits is not sent any more.
    pub(crate) fn announce(&mut self, publish: Publish) -> Result<(), rumqttc::mqttbytes::Error> {
        self.own = Some(publish);
        self.send_own()
    }

    fn send_own(&mut self) -> Result<(), rumqttc::mqttbytes::Error> {
        if self.own_in_flight.is_some() {
            return Ok(());
        }
        let Phase::Up(session) = &mut self.phase else {
            return Ok(());
        };
        if let Some(mut publish) = self.own.take() {
            publish.pkid = OWN_ID;
            session.publish(&publish)?;
            self.own_in_flight = Some(Instant::now());
        }
        Ok(())
    }

    /// Whether an acknowledged identifier was that of the bridge's own message.
    pub(crate) fn acknowledged(&mut self, id: u16) -> Result<bool, rumqttc::mqttbytes::Error> {
        if id != OWN_ID {
            return Ok(false);
        }
        self.own_in_flight = None;
        self.send_own()?;
        Ok(true)
    }

    /// Takes the answer to a SUBSCRIBE, and sends what is next.
    pub(crate) fn subscribed(&mut self, id: u16, codes: &[SubscribeReasonCode]) -> Result<(), End> {
        let (SUBSCRIBE_ID, Some(Step::Subscribe(filters))) = (id, self.subscribing.pop_front())
        else {
            return Err(Violation::Unexpected("SUBACK").into());
        };
        if filters.len() != codes.len() {
            return Err(Violation::SubAckCount(filters.len(), codes.len()).into());
        }
        for (filter, code) in filters.iter().zip(codes) {
            let path = cut(&filter.path, OWN_TEXT);
            match code {
                SubscribeReasonCode::Failure => {
                    log::error!(
                        "{}: the broker refused the subscription to {path}",
                        self.name
                    );
                    self.refused.push(path.into_owned());
                }
                SubscribeReasonCode::Success(qos) if *qos < filter.qos => {
                    log::warn!("{}: the broker delivers {path} with QoS 0 only", self.name);
                }
                SubscribeReasonCode::Success(_) => {}
            }
        }
        self.next_step()
    }

    /// Takes the answer to an UNSUBSCRIBE, and sends what is next.
    pub(crate) fn unsubscribed(&mut self, id: u16) -> Result<(), End> {
        match (id, self.subscribing.pop_front()) {
            (SUBSCRIBE_ID, Some(Step::Unsubscribe(_))) => self.next_step(),
            _ => Err(Violation::Unexpected("UNSUBACK").into()),
        }
    }

    fn next_step(&mut self) -> Result<(), End> {
        self.asked = Instant::now();
        match (self.subscribing.front(), &mut self.phase) {
            (Some(next), Phase::Up(session)) => session.send(&next.packet())?,
            _ => {
                // With the next connection it is tried again.
                self.subscribed = self.refused.is_empty();
                self.last_error = None;
            }
        }
        Ok(())
    }

    /// For the answer to each packet that has one.
    pub(crate) fn ack_timeout(&self) -> Duration {
        self.endpoint.0.ack_timeout
    }

    /// What the broker has not answered in time. `oldest` is the number of the oldest message that it has not
    /// acknowledged. Brokers acknowledge in order, so the time of a message counts from when it became the oldest:
    /// one that is slow is not taken for one that has lost something.
    pub(crate) fn overdue(&mut self, oldest: Option<u64>) -> Option<Overdue> {
        let Phase::Up(session) = &mut self.phase else {
            return None;
        };
        let now = Instant::now();
        let limit = self.endpoint.0.ack_timeout;
        // What has not gone out yet can't be answered.
        self.oldest = match (oldest, self.oldest) {
            (Some(number), Some((same, since))) if number == same && !session.is_stuck() => {
                Some((number, since))
            }
            (number, _) => number.map(|number| (number, now)),
        };
        let is_over = |since: Instant| now.duration_since(since) >= limit;
        if self.oldest.is_some_and(|(_, since)| is_over(since)) {
            return Some(Overdue::Message);
        }
        if self.own_in_flight.is_some_and(is_over) {
            return Some(Overdue::Packet("the health message"));
        }
        let step = self.subscribing.front()?;
        is_over(self.asked).then_some(Overdue::Packet(step.name()))
    }

    /// The broker sent what stops all that comes behind it.
    pub(crate) fn stop(&mut self, why: String) {
        let level = if self.stop_told.as_ref() == Some(&why) {
            log::Level::Debug
        } else {
            log::Level::Error
        };
        log::log!(level, "{}: {why}", self.name);
        self.stop_told = Some(why.clone());
        self.stopped_by = Some(why);
    }

    /// What stops all that comes from the broker, if something does.
    pub(crate) fn stopped_by(&self) -> Option<&String> {
        self.stopped_by.as_ref()
    }

    /// What TLS came to, while there is a connection.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        self.handshake.filter(|_| self.is_up())
    }

    /// Filters that the broker refused to subscribe to.
    pub(crate) fn refused(&self) -> &[String] {
        &self.refused
    }

    /// It stands once all subscriptions are made.
    pub(crate) fn link(&self) -> Link {
        match (&self.phase, &self.last_error) {
            (Phase::Up(_), _) if self.subscribing.is_empty() => Link::Up,
            (_, Some(error)) => Link::Down(error.clone()),
            _ => Link::Connecting,
        }
    }
}

impl Step {
    fn packet(&self) -> Packet {
        match self {
            Self::Subscribe(filters) => {
                let mut subscribe = Subscribe::new_many(filters.clone());
                subscribe.pkid = SUBSCRIBE_ID;
                Packet::Subscribe(subscribe)
            }
            Self::Unsubscribe(filters) => Packet::Unsubscribe(Unsubscribe {
                pkid: SUBSCRIBE_ID,
                topics: filters.clone(),
            }),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
        }
    }
}

const SUBSCRIBE_ID: u16 = MAX_ID + 1;
const OWN_ID: u16 = MAX_ID + 2;
/// Most filters in a SUBSCRIBE; AWS IoT Core takes 8.
const FILTERS: usize = 8;
/// A connection that lived this long was of use: what ended it is no reason to wait longer.
const OF_USE: Duration = Duration::from_secs(10);
