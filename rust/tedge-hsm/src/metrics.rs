//! What `status` knows, in the text format of Prometheus, for node_exporter's textfile collector.

use std::fmt::{Display, Write as _};

use tedge_p11_client::Status;

use crate::identity::Identity;
use crate::pin_state::pin;

/// The metrics; `status` is none if no signer answers.
pub(crate) fn text(status: Option<&Status>, identity: &Identity) -> String {
    let mut metrics = Metrics(String::new());
    metrics.gauge(
        "tedge_hsm_signer_up",
        "Whether tedge-p11-server answers.",
        [("", u8::from(status.is_some()))],
    );
    if let Some(status) = status {
        of_signer(&mut metrics, status);
    }
    of_identity(&mut metrics, identity);
    metrics.0
}

fn of_signer(metrics: &mut Metrics, status: &Status) {
    let seconds = |milliseconds: u64| format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    metrics.gauge(
        "tedge_hsm_signer_info",
        "The signer that answers.",
        [(labels(&[("version", &status.version)]), 1)],
    );
    metrics.gauge(
        "tedge_hsm_signer_uptime_seconds",
        "For how long the signer has run.",
        [("", status.uptime)],
    );
    metrics.gauge(
        "tedge_hsm_signer_configuration_refused",
        "Whether the configuration on disk is not in force.",
        [("", u8::from(!status.reload_error.is_empty()))],
    );
    for (name, help, count) in [
        (
            "requests",
            "Requests since the signer started.",
            status.requests,
        ),
        ("signatures", "Signatures among them.", status.signatures),
        ("failures", "Requests that failed.", status.failed),
        (
            "refusals",
            "Requests that the policy refused.",
            status.refused,
        ),
        (
            "throttled",
            "Requests that came too fast.",
            status.throttled,
        ),
    ] {
        let name = format!("tedge_hsm_signer_{name}_total");
        metrics.family(&name, "counter", help, [("", count)]);
    }
    metrics.gauge(
        "tedge_hsm_signer_longest_call_seconds",
        "Age of the oldest call on the PKCS#11 module that has not returned.",
        [("", seconds(status.longest_call))],
    );
    let tokens = || {
        status
            .tokens
            .iter()
            .map(|token| (labels(&[("token", &token.uri)]), token))
    };
    metrics.gauge(
        "tedge_hsm_token_up",
        "Whether a token that was used works.",
        tokens().map(|(label, token)| (label, u8::from(token.trouble.is_empty()))),
    );
    metrics.gauge(
        "tedge_hsm_token_pin_state",
        "What is known of the token's PIN: the label state, in the words of status --json.",
        status.tokens.iter().map(|token| {
            let state = pin(status, token);
            (labels(&[("token", &token.uri), ("state", state)]), 1)
        }),
    );
    metrics.gauge(
        "tedge_hsm_token_pin_locked",
        "Whether the token's PIN is locked.",
        tokens().map(|(label, token)| (label, u8::from(pin(status, token) == "locked"))),
    );
}

fn of_identity(metrics: &mut Metrics, identity: &Identity) {
    let end = identity.certificate.as_ref();
    metrics.gauge(
        "tedge_hsm_certificate_not_after_timestamp_seconds",
        "When the device's certificate ends.",
        end.map(|certificate| ("", certificate.not_after().as_secs())),
    );
    let renewal = &identity.renewal;
    metrics.gauge(
        "tedge_hsm_renewal_success_timestamp_seconds",
        "When the certificate was last renewed.",
        renewal.renewed.map(|renewed| ("", renewed)),
    );
    metrics.gauge(
        "tedge_hsm_renewal_failures",
        "How often in a row the certificate could not be renewed.",
        [("", renewal.failures)],
    );
    let rotation = identity.rotation.as_ref();
    metrics.gauge(
        "tedge_hsm_rotation_active",
        "Whether the device's key is being replaced.",
        [("", u8::from(rotation.is_some()))],
    );
    let Some(rotation) = rotation else {
        return;
    };
    let step = serde_json::to_value(rotation.step).unwrap_or_default();
    let label = labels(&[("step", step.as_str().unwrap_or_default())]);
    metrics.gauge(
        "tedge_hsm_rotation_step_timestamp_seconds",
        "Since when the replacement of the key is at the step of the label.",
        [(&label, rotation.since)],
    );
    metrics.gauge(
        "tedge_hsm_rotation_failed",
        "Whether that step could not be taken when it was tried last.",
        [("", u8::from(rotation.error.is_some()))],
    );
}

struct Metrics(String);

impl Metrics {
    fn gauge<L: Display, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    /// Nothing if there are no samples.
    fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            // A String takes everything.
            let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

/// `{NAME="VALUE",...}`, escaped as the format wants it.
fn labels(labels: &[(&str, &str)]) -> String {
    let labels = labels.iter().map(|(name, value)| {
        let value = tedge_file::printable(value)
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        format!("{name}=\"{value}\"")
    });
    format!("{{{}}}", labels.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_add_no_line() {
        assert_eq!(
            labels(&[("token", "a\"} 1\nb\\")]),
            "{token=\"a\\\"} 1\u{fffd}b\\\\\"}"
        );
    }
}
