//! Requests to a cloud over MQTT, each with its answer on a topic of its own, and how often they are made.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::rand::{GetRandomFlags, getrandom};
use rustls::client::ResolvesClientCert;
use tedge_file::printable;

use super::waiting::Waiting;
use crate::mqtt::{Mqtt, Session};
use crate::output::note;
use crate::tls::{self, Endpoint};

/// A connection for requests.
pub(super) struct Requests(Mqtt);

/// What there is instead of a good answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// There will be no other the next time.
    Final(anyhow::Error),
    /// There may be one later: after so long, if the cloud has said.
    Passing(anyhow::Error, Option<Duration>),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Final(error)
    }
}

impl Requests {
    /// Connects, with what `client` shows, and subscribes to where the answers will be. `refused` is what it means that
    /// the broker does not let it.
    pub(super) fn connect(
        endpoint: &Endpoint<'_>,
        client: Arc<dyn ResolvesClientCert>,
        client_id: &str,
        username: Option<&str>,
        answers: &[String],
        limit: Duration,
        refused: &'static str,
    ) -> anyhow::Result<Self> {
        let (stream, _) = tls::connect_as(endpoint, client, limit)?;
        let login = username.map(|user| (user, None));
        let connected = Mqtt::connect(stream, client_id, login, Session::Clean);
        let subscribed = connected.and_then(|mut mqtt| {
            for filter in answers {
                mqtt.subscribe(filter)?;
            }
            Ok(mqtt)
        });
        subscribed.map(Self).context(refused)
    }

    /// Publishes a request, and waits for the message of which `answer` makes something.
    pub(super) fn ask<T>(
        &mut self,
        topic: &str,
        request: &str,
        answer: impl FnMut(&str, &[u8]) -> Option<T>,
    ) -> anyhow::Result<T> {
        // Late answers to what was asked before.
        self.0.forget_messages();
        self.0.publish(topic, request)?;
        self.0.find_message(answer)
    }

    pub(super) fn close(self) {
        self.0.disconnect();
    }
}

/// Attempts until one succeeds or fails for good, with pauses that grow, for as long as the operator waits.
pub(super) fn insist<T>(
    waiting: &Waiting,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> anyhow::Result<T> {
    let mut pause = FIRST_PAUSE;
    loop {
        let (error, after) = match attempt() {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error, after)) => (error, after),
        };
        let wait = after.unwrap_or_else(|| {
            let wait = shortened(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            wait
        });
        // A cloud may say that it is asked again at once, each time.
        let wait = wait.max(SHORTEST_PAUSE);
        note(format_args!(
            "wait   {error:#}; the next attempt is in {} s",
            wait.as_secs_f32().round()
        ));
        waiting.pause(wait, &format!("{error:#}"))?;
    }
}

/// By up to a half, at random: many devices that were turned away together come back one by one.
fn shortened(pause: Duration) -> Duration {
    let mut random = [0];
    // Without random numbers it is not shortened.
    let _ = getrandom(&mut random, GetRandomFlags::empty());
    pause.mul_f64(1.0 - f64::from(random[0]) / 512.0)
}

/// The JSON of an answer, which must not be longer than any good one is.
pub(super) fn parse<T: serde::de::DeserializeOwned>(payload: &[u8]) -> anyhow::Result<T> {
    if payload.len() > MAX_ANSWER {
        bail!(
            "the answer has {} bytes, which is more than {MAX_ANSWER}",
            payload.len()
        );
    }
    serde_json::from_slice(payload)
        // What it quotes is the cloud's.
        .map_err(|error| {
            anyhow::anyhow!(
                "the answer has an unexpected form: {}",
                words(&error.to_string())
            )
        })
}

/// What a cloud says, as a part of a line.
pub(super) fn words(text: &str) -> String {
    let mut words: String = text.trim().chars().take(MAX_WORDS).collect();
    if text.trim().chars().count() > MAX_WORDS {
        words.push('…');
    }
    printable(&words)
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Bytes; a certificate and a device's configuration are the longest that there is in one.
const MAX_ANSWER: usize = 65_536;
/// Characters.
const MAX_WORDS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_shortened_by_up_to_a_half() {
        for _ in 0..1000 {
            let pause = shortened(Duration::from_secs(2));
            assert!((1.0..=2.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
    }

    #[test]
    fn what_a_cloud_says_is_one_short_line() {
        let said = words(&format!("a\x1b[2J\n{}", "x".repeat(1000)));
        assert_eq!(said.lines().count(), 1);
        assert!(!said.contains('\x1b'), "{said:?}");
        assert!(said.chars().count() < 400, "{said:?}");
    }
}
