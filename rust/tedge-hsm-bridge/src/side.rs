//! One of the two brokers, connected or not.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::mqttbytes::v4::{
    Packet, Publish, SubAck, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::connect::{Connected, Endpoint, connect};
use crate::error::ConnectError;
use crate::forward_queue::MAX_ID;
use crate::health::Link;
use crate::reconnect_pause::ReconnectPause;
use crate::rule::Rule;
use crate::session::Session;

/// One of the two brokers.
pub(crate) struct Side {
    /// For the log.
    name: String,
    endpoint: Endpoint,
    reconnect_pause: ReconnectPause,
    phase: Phase,
    filters: Vec<SubscribeFilter>,
    /// Filters that are still to be subscribed to, the first of them under way.
    subscribing: VecDeque<Vec<SubscribeFilter>>,
    /// Whether the session has all subscriptions, made by this process: before, it may have what an earlier
    /// configuration said.
    subscribed: bool,
    /// Filters that the broker refused to subscribe to.
    refused: Vec<String>,
    last_error: Option<String>,
    max_message: usize,
    /// A message of the bridge's own, to be published when the one before is acknowledged.
    own: Option<Publish>,
    own_in_flight: bool,
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
        Self {
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
            own_in_flight: false,
        }
    }

    /// Waits for something to happen; makes the connection when it is time to.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match &mut self.phase {
                Phase::Waiting(until) => {
                    sleep_until(*until).await;
                    let endpoint = self.endpoint.clone();
                    let attempt = spawn_blocking(move || {
                        let (broker, tls, will) = &*endpoint;
                        connect(broker, tls.as_ref(), will.clone())
                    });
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
        log::info!(
            "{}: connected, {}, {}",
            self.name,
            connected.description,
            if present {
                "the session goes on"
            } else {
                "a new session"
            }
        );
        let certificate = connected.certificate.clone();
        let failed = |error: &dyn std::fmt::Display| ConnectError::NoAnswer(error.to_string());
        let keep_alive = self.endpoint.0.keep_alive;
        let mut session = Session::new(connected, keep_alive, self.max_message)
            .map_err(|error| failed(&error))?;
        self.own_in_flight = false;
        self.subscribing.clear();
        if !present || !self.subscribed {
            // Not again and again: brokers answer with all that they have retained.
            self.subscribed = false;
            self.refused.clear();
            self.subscribing = self.filters.chunks(FILTERS).map(<[_]>::to_vec).collect();
            if let Some(first) = self.subscribing.front() {
                session
                    .send(&subscribe(first))
                    .map_err(|error| failed(&error))?;
            } else {
                self.subscribed = true;
            }
        }
        self.phase = Phase::Up(Box::new(session));
        self.last_error = None;
        Ok(Event::Connected {
            present,
            certificate,
        })
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
        log::info!("{}: connecting anew: {why}", self.name);
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
        if self.own_in_flight {
            return Ok(());
        }
        let Phase::Up(session) = &mut self.phase else {
            return Ok(());
        };
        if let Some(mut publish) = self.own.take() {
            publish.pkid = OWN_ID;
            session.publish(&publish)?;
            self.own_in_flight = true;
        }
        Ok(())
    }

    /// Whether an acknowledged identifier was that of the bridge's own message.
    pub(crate) fn acknowledged(&mut self, id: u16) -> Result<bool, rumqttc::mqttbytes::Error> {
        if id != OWN_ID {
            return Ok(false);
        }
        self.own_in_flight = false;
        self.send_own()?;
        Ok(true)
    }

    /// Takes the answer to a SUBSCRIBE, and sends the next one.
    pub(crate) fn subscribed(&mut self, ack: &SubAck) -> Result<(), rumqttc::mqttbytes::Error> {
        let filters = self.subscribing.pop_front().unwrap_or_default();
        for (filter, code) in filters.iter().zip(&ack.return_codes) {
            match code {
                SubscribeReasonCode::Failure => {
                    log::error!(
                        "{}: the broker refused the subscription to {}",
                        self.name,
                        filter.path
                    );
                    self.refused.push(filter.path.clone());
                }
                SubscribeReasonCode::Success(qos) if *qos < filter.qos => log::warn!(
                    "{}: the broker delivers {} with QoS 0 only",
                    self.name,
                    filter.path
                ),
                SubscribeReasonCode::Success(_) => {}
            }
        }
        match (self.subscribing.front(), &mut self.phase) {
            (Some(next), Phase::Up(session)) => session.send(&subscribe(next)),
            _ => {
                // With the next connection it is tried again.
                self.subscribed = self.refused.is_empty();
                Ok(())
            }
        }
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

fn subscribe(filters: &[SubscribeFilter]) -> Packet {
    let mut subscribe = Subscribe::new_many(filters.to_vec());
    subscribe.pkid = SUBSCRIBE_ID;
    Packet::Subscribe(subscribe)
}

const SUBSCRIBE_ID: u16 = MAX_ID + 1;
const OWN_ID: u16 = MAX_ID + 2;
/// Most filters in a SUBSCRIBE; AWS IoT Core takes 8.
const FILTERS: usize = 8;
/// A connection that lived this long was of use: what ended it is no reason to wait longer.
const OF_USE: Duration = Duration::from_secs(10);
