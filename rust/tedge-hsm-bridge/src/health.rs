//! What a profile says of itself: to the local broker, to systemd and to the log.

use std::time::{SystemTime, UNIX_EPOCH};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{LastWill, Publish};
use serde::Serialize;

use crate::handshake::Handshake;
use crate::identity::Identity;

/// How it goes with one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) local: Link,
    pub(crate) cloud: Link,
    /// Why the key could not be used when that was tried last.
    pub(crate) hsm: Option<String>,
    pub(crate) identity: Identity,
    /// Subscriptions that the brokers refused: nothing comes by them.
    pub(crate) refused: Option<String>,
    /// What stops messages although both connections stand.
    pub(crate) stopped: Option<String>,
    /// What TLS with the cloud came to.
    pub(crate) handshake: Option<Handshake>,
    /// Messages delivered to the cloud.
    pub(crate) out: u64,
    /// Messages delivered to the local broker.
    pub(crate) into: u64,
    /// Messages on their way.
    pub(crate) held: usize,
    /// Messages that could not be forwarded: too long, or with a topic that no rule is for.
    pub(crate) dropped: u64,
}

/// The state of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    #[default]
    Connecting,
    Up,
    Down(String),
}

/// What is published: the keys `status`, `pid` and `time` are those of thin-edge.io's services.
#[derive(Default, Serialize)]
struct Health<'a> {
    status: &'static str,
    pid: u32,
    /// Seconds since 1970; none in a last will.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    cloud: &'static str,
    /// The names that IANA has for the key exchange with the cloud, and for what the device signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_exchange: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_scheme: Option<String>,
    hsm: &'static str,
    /// What the signer says of the PIN, if that is why the HSM can't be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<&'static str>,
    /// When the device's certificate ends, and was last renewed, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_ends: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renewed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renewal_error: Option<&'a str>,
    /// The step that the replacement of the key is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Report {
    /// Whether messages can pass.
    pub(crate) fn is_up(&self) -> bool {
        self.local == Link::Up && self.cloud == Link::Up
    }

    /// The health message, without its packet identifier. What changes with every message is not in it.
    pub(crate) fn message(&self, topic: &str) -> Publish {
        let health = Health {
            status: if self.cloud == Link::Up && self.stopped.is_none() {
                "up"
            } else {
                "down"
            },
            pid: std::process::id(),
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .map(|time| time.as_secs()),
            cloud: self.cloud.word(),
            key_exchange: self.handshake.and_then(|handshake| handshake.group),
            signature_scheme: (self.handshake)
                .and_then(|handshake| Some(handshake.scheme?.to_string())),
            hsm: if self.hsm.is_some() {
                "unusable"
            } else {
                "usable"
            },
            pin: self.hsm.as_deref().and_then(pin),
            certificate_ends: self.identity.ends,
            renewed: self.identity.renewed,
            renewal_error: self.identity.renewal_error.as_deref(),
            rotation: self.identity.rotation.as_deref(),
            reason: (self.hsm.as_deref())
                .or(self.cloud.reason())
                .or(self.stopped.as_deref())
                .or(self.refused.as_deref()),
        };
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, json(&health));
        publish.retain = true;
        publish
    }

    /// One line, without the profile's name.
    pub(crate) fn line(&self) -> String {
        let mut line = match (&self.local, &self.cloud) {
            (Link::Up, Link::Up) => "up".to_owned(),
            (Link::Up, cloud) => format!("cloud {}", cloud.phrase()),
            (local, Link::Up) => format!("local broker {}", local.phrase()),
            (local, cloud) => {
                format!("local broker {}, cloud {}", local.phrase(), cloud.phrase())
            }
        };
        if let Some(reason) = self.hsm.as_deref().filter(|reason| !line.contains(reason)) {
            line = format!("{line}, HSM unusable: {reason}");
        }
        for more in [&self.stopped, &self.refused].into_iter().flatten() {
            line = format!("{line}, {more}");
        }
        line = format!(
            "{line}; {} out, {} in, {} held",
            self.out, self.into, self.held
        );
        if self.dropped > 0 {
            line = format!("{line}, {} dropped", self.dropped);
        }
        if let Some(handshake) = self.handshake {
            line = format!("{line}; {handshake}");
        }
        line
    }
}

impl Link {
    fn word(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Connecting => "connecting",
            Self::Down(_) => "down",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Down(reason) => Some(reason),
            _ => None,
        }
    }

    fn phrase(&self) -> String {
        match self {
            Self::Down(reason) => format!("down: {reason}"),
            link => link.word().to_owned(),
        }
    }
}

/// What the local broker publishes when the bridge is gone without a word.
pub(crate) fn last_will(topic: &str) -> LastWill {
    LastWill::new(
        topic,
        farewell("the bridge is gone", None),
        QoS::AtLeastOnce,
        true,
    )
}

/// What the bridge publishes when it is stopped.
pub(crate) fn goodbye(topic: &str) -> Publish {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let payload = farewell("the bridge was stopped", time.map(|time| time.as_secs()));
    // It is the last packet: nobody would wait for an acknowledgement.
    let mut publish = Publish::new(topic, QoS::AtMostOnce, payload);
    publish.retain = true;
    publish
}

fn farewell(reason: &str, time: Option<u64>) -> String {
    json(&Health {
        status: "down",
        pid: std::process::id(),
        time,
        cloud: "down",
        hsm: "unknown",
        reason: Some(reason),
        ..Health::default()
    })
}

/// The codes are PKCS#11's, which the signer's words have.
fn pin(reason: &str) -> Option<&'static str> {
    let codes = [("CKR_PIN_LOCKED", "locked"), ("CKR_PIN_INCORRECT", "wrong")];
    let mut found = codes.iter().filter(|(code, _)| reason.contains(code));
    found.next().map(|(_, state)| *state)
}

fn json(health: &Health<'_>) -> String {
    // Strings and numbers: there is nothing in it that could fail.
    serde_json::to_string(health).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_json_with_the_reason() {
        let mut report = Report {
            local: Link::Up,
            cloud: Link::Down("no \"route\"".into()),
            ..Report::default()
        };
        let payload = |report: &Report| {
            let publish = report.message("h");
            assert!(publish.retain);
            serde_json::from_slice::<serde_json::Value>(&publish.payload).unwrap()
        };
        assert_eq!(payload(&report)["status"], "down");
        assert_eq!(payload(&report)["reason"], "no \"route\"");
        assert_eq!(payload(&report)["hsm"], "usable");
        report.cloud = Link::Up;
        assert!(payload(&report).get("certificate_ends").is_none());
        assert!(payload(&report).get("key_exchange").is_none());
        report.handshake = Some(Handshake::default());
        assert!(payload(&report).get("signature_scheme").is_none());
        assert_eq!(report.line(), "up; 0 out, 0 in, 0 held; TLS");
        report.handshake = None;
        report.identity.ends = Some(7);
        report.identity.renewal_error = Some("no route".into());
        assert_eq!(payload(&report)["certificate_ends"], 7);
        assert_eq!(payload(&report)["renewal_error"], "no route");
        report.hsm = Some("the PIN is locked (CKR_PIN_LOCKED)".into());
        assert_eq!(payload(&report)["pin"], "locked");
        report.hsm = Some("gone".into());
        assert!(payload(&report).get("pin").is_none());
        assert_eq!(payload(&report)["status"], "up");
        assert_eq!(payload(&report)["hsm"], "unusable");
        assert_eq!(report.line(), "up, HSM unusable: gone; 0 out, 0 in, 0 held");
        report.hsm = None;
        report.stopped = Some("the cloud does not acknowledge".into());
        assert_eq!(payload(&report)["status"], "down");
        assert_eq!(payload(&report)["cloud"], "up");
        assert_eq!(payload(&report)["reason"], "the cloud does not acknowledge");
        assert_eq!(
            report.line(),
            "up, the cloud does not acknowledge; 0 out, 0 in, 0 held"
        );
        report.stopped = None;
        report.refused = Some("subscription refused: cmd/#".into());
        assert_eq!(payload(&report)["reason"], "subscription refused: cmd/#");
        assert_eq!(
            report.line(),
            "up, subscription refused: cmd/#; 0 out, 0 in, 0 held"
        );
    }
}
