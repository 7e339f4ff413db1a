//! What Azure's Device Provisioning Service answers, parsed: topics as "Communicate with DPS using the MQTT protocol"
//! has them, and in the messages `RegistrationOperationStatus` or `ProvisioningServiceErrorDetails` of its REST
//! reference.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::ServerName;
use serde::Deserialize;

use crate::enroll::requests::{parse, words};

/// An answer's topic: `$dps/registrations/res/STATUS/?$rid=ID&retry-after=SECONDS`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// As HTTP has it.
    pub(super) status: u16,
    /// When to ask again.
    pub(super) retry_after: Option<Duration>,
}

/// What has become of a registration.
#[derive(Debug)]
pub(super) enum Answer {
    /// The service has yet to decide. It is asked again about this operation.
    Assigning(OperationId),
    Assigned(Assignment),
}

/// By which a registration is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OperationId(String);

/// Where the device belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Host name of the IoT hub.
    pub(super) hub: String,
    /// The device's id there, which is its MQTT client id.
    pub(super) device_id: String,
}

impl Topic {
    /// None if it is not the answer to the request with this id.
    pub(super) fn parse(topic: &str, request_id: &str) -> Option<Self> {
        let rest = topic.strip_prefix("$dps/registrations/res/")?;
        let (status, query) = rest.split_once("/?")?;
        let get = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key == name).then_some(value))
        };
        if get("$rid") != Some(request_id) {
            return None;
        }
        Some(Self {
            status: status.parse().ok()?,
            retry_after: get("retry-after")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        })
    }
}

impl Answer {
    /// Out of a message that came with a status that means success. Each other outcome is an error that says which.
    pub(super) fn parse(payload: &[u8]) -> anyhow::Result<Self> {
        let answer: Operation = parse(payload)?;
        let state = answer.registration_state.unwrap_or_default();
        match answer.status.as_str() {
            "assigning" => Ok(Self::Assigning(OperationId::new(&answer.operation_id)?)),
            "assigned" => Ok(Self::Assigned(Assignment {
                hub: hub(&state.assigned_hub)?,
                device_id: device_id(&state.device_id)?,
            })),
            "failed" => bail!("the registration failed{}", state.reason()),
            "disabled" => bail!(
                "the device's enrollment is disabled: enable it in the service's list of enrollments{}",
                state.reason()
            ),
            "unassigned" => bail!(
                "the device was assigned to no IoT hub: link a hub to the service, or to the enrollment{}",
                state.reason()
            ),
            other => bail!(
                "the service tells of a status that is not known: \"{}\"",
                words(other)
            ),
        }
    }
}

impl OperationId {
    fn new(id: &str) -> anyhow::Result<Self> {
        // It becomes a part of a topic.
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-~".contains(c);
        if id.is_empty() || id.len() > MAX_OPERATION_ID || !id.chars().all(fits) {
            bail!("the answer has no usable operationId");
        }
        Ok(Self(id.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn hub(name: &str) -> anyhow::Result<String> {
    match ServerName::try_from(name) {
        Ok(ServerName::DnsName(_)) => Ok(name.to_owned()),
        _ => bail!("\"{}\" is no host name of an IoT hub", words(name)),
    }
}

/// Those that a topic and a user name can have, out of those that IoT Hub takes.
fn device_id(id: &str) -> anyhow::Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:%*?!(),=@$'".contains(c);
    if id.is_empty() || id.len() > MAX_DEVICE_ID || !id.chars().all(fits) {
        bail!(
            "\"{}\" is no device id that is taken here: 1 to {MAX_DEVICE_ID} letters, digits and -._:%*?!(),=@$'",
            words(id)
        );
    }
    Ok(id.to_owned())
}

/// What the service says when it refuses a request.
pub(super) fn refusal(status: u16, payload: &[u8]) -> String {
    match parse::<Details>(payload) {
        Ok(details) => format!("{status}{}", details.reason()),
        Err(_) if payload.is_empty() => status.to_string(),
        Err(error) => format!("{status}: {error:#}"),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    #[serde(default)]
    operation_id: String,
    status: String,
    registration_state: Option<State>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct State {
    assigned_hub: String,
    device_id: String,
    #[serde(flatten)]
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    error_code: Option<u32>,
    /// In the state of a registration.
    error_message: Option<String>,
    /// In an error.
    message: Option<String>,
    tracking_id: Option<String>,
}

impl State {
    fn reason(&self) -> String {
        self.details.reason()
    }
}

impl Details {
    /// ` (CODE): MESSAGE; tracking id ID`, as far as it is known.
    fn reason(&self) -> String {
        let mut reason = String::new();
        let mut add = |text: fmt::Arguments<'_>| {
            // A String takes everything.
            let _ = fmt::Write::write_fmt(&mut reason, text);
        };
        if let Some(code) = self.error_code {
            add(format_args!(" ({code})"));
        }
        if let Some(message) = self.error_message.as_deref().or(self.message.as_deref()) {
            add(format_args!(": {}", words(message).trim_end_matches('.')));
        }
        if let Some(id) = &self.tracking_id {
            add(format_args!("; tracking id {}", words(id)));
        }
        reason
    }
}

/// Reads what an earlier run has written down.
pub(super) fn assignment(hub_name: Option<&str>, id: Option<&str>) -> anyhow::Result<Assignment> {
    let missing = "the device's assignment is not known";
    Ok(Assignment {
        hub: hub(hub_name.context(missing)?)?,
        device_id: device_id(id.context(missing)?)?,
    })
}

/// What a person would see of a message, and of its topic's parts: for fuzz/.
#[must_use]
pub fn texts(topic: &str, payload: &[u8]) -> Vec<String> {
    let status = Topic::parse(topic, "1").map_or(0, |topic| topic.status);
    let answer = match Answer::parse(payload) {
        Ok(Answer::Assigning(id)) => vec![id.0],
        Ok(Answer::Assigned(assignment)) => vec![assignment.hub, assignment.device_id],
        Err(error) => vec![format!("{error:#}")],
    };
    [answer, vec![refusal(status, payload)]].concat()
}

/// Bytes; they have some fifty.
const MAX_OPERATION_ID: usize = 256;
/// IoT Hub's developer guide, "Device identity properties".
const MAX_DEVICE_ID: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_tells_status_and_pause() {
        let topic = |topic: &str| Topic::parse(topic, "7");
        assert_eq!(
            topic("$dps/registrations/res/202/?$rid=7&retry-after=3"),
            Some(Topic {
                status: 202,
                retry_after: Some(Duration::from_secs(3)),
            })
        );
        assert_eq!(
            topic("$dps/registrations/res/200/?$rid=7").unwrap().status,
            200
        );
        for other in [
            "$dps/registrations/res/200/?$rid=8",
            "$dps/registrations/res/200/?rid=7",
            "$dps/registrations/res/200",
            "$dps/registrations/res/x/?$rid=7",
            "a/b",
        ] {
            assert_eq!(topic(other), None, "{other}");
        }
        let huge = format!(
            "$dps/registrations/res/202/?$rid=7&retry-after={}",
            "9".repeat(40)
        );
        assert_eq!(topic(&huge).unwrap().retry_after, None);
    }

    #[test]
    fn each_outcome_is_one_line() {
        let failure = |payload: &str| {
            let error = Answer::parse(payload.as_bytes()).unwrap_err();
            let text = format!("{error:#}");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains('\x1b'), "{text:?}");
            text
        };
        for (payload, said) in [
            (
                r#"{"status":"failed","registrationState":{"errorCode":400209,"errorMessage":"Custom allocation failed."}}"#,
                "the registration failed (400209): Custom allocation failed",
            ),
            (r#"{"status":"failed"}"#, "the registration failed"),
            (r#"{"status":"disabled"}"#, "is disabled"),
            (r#"{"status":"unassigned"}"#, "to no IoT hub"),
            (r#"{"status":"\u001b[2J"}"#, "not known"),
            (
                r#"{"status":"assigning","operationId":"a/b"}"#,
                "no usable operationId",
            ),
            (
                r#"{"status":"assigned","registrationState":{"assignedHub":"a b","deviceId":"d"}}"#,
                "is no host name",
            ),
            (
                r#"{"status":"assigned","registrationState":{"assignedHub":"h","deviceId":"d/e\n"}}"#,
                "is no device id",
            ),
            (r#"{"status":"assigned"}"#, "is no host name"),
            ("[]", "unexpected form"),
            ("", "unexpected form"),
        ] {
            assert!(
                failure(payload).contains(said),
                "{payload}: {}",
                failure(payload)
            );
        }
        let details =
            r#"{"errorCode":401002,"trackingId":"t","message":"CA certificate not found."}"#;
        assert_eq!(
            refusal(401, details.as_bytes()),
            "401 (401002): CA certificate not found; tracking id t"
        );
        assert_eq!(refusal(429, b""), "429");
    }
}
