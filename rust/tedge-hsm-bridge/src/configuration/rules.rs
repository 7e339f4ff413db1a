//! The rules of one cloud: the operator's and the preset's.

use rumqttc::mqttbytes::QoS;
use toml::Spanned;

use super::file::{self, Cloud};
use super::mistake::{Mistake, mistake};
use crate::rule::{Rule, RuleError};

pub(super) fn rules(
    table: &Spanned<()>,
    file: &Cloud,
    client_id: &str,
) -> Result<(Vec<Rule>, Vec<Rule>), Mistake> {
    let (mut out, mut into) = (Vec::new(), Vec::new());
    // The operator's own come first: the first that matches is the one.
    for rule in &file.out {
        out.push(self::rule(rule, client_id)?);
    }
    for rule in &file.into {
        into.push(self::rule(rule, client_id)?);
    }
    if let Some(preset) = file.preset {
        let (preset_out, preset_into) = preset
            .rules(client_id)
            .map_err(|error| mistake(&file.client_id, error.message))?;
        out.extend(preset_out);
        into.extend(preset_into);
    }
    if out.is_empty() && into.is_empty() {
        return Err(mistake(table, "it has no preset and no rules"));
    }
    for (to_local, file_rule) in into
        .iter()
        .zip(file.into.iter().map(Some).chain(std::iter::repeat(None)))
    {
        let round = out.iter().find(|to_cloud| {
            to_local.feeds(to_cloud) && into.iter().any(|back| to_cloud.feeds(back))
        });
        if let Some(to_cloud) = round {
            let message = format!(
                "messages would go round: {} brings them to {}, and {} takes them out again",
                to_local.filter,
                to_local.target_filter(),
                to_cloud.filter
            );
            return Err(match file_rule {
                Some(rule) => mistake(&rule.topic, message),
                None => mistake(table, message),
            });
        }
    }
    Ok((out, into))
}

fn rule(file: &file::Rule, client_id: &str) -> Result<Rule, Mistake> {
    let text = |text: &str| text.replace("{client_id}", client_id);
    let optional = |value: &Option<Spanned<String>>| {
        value
            .as_ref()
            .map_or_else(String::new, |value| text(value.get_ref()))
    };
    let qos = match file.qos.as_ref().map_or(1, |qos| *qos.get_ref()) {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => {
            let at = file.qos.as_ref().map_or(0, |qos| qos.span().start);
            let message = "0 or 1; QoS 2 cannot be kept across two brokers".to_owned();
            return Err(Mistake { at, message });
        }
    };
    let topic = text(file.topic.get_ref());
    let (strip, add) = (optional(&file.strip), optional(&file.add));
    Rule::new(topic, qos, strip, add, file.retain).map_err(|RuleError { key, message }| {
        let at = match key {
            "strip" => file.strip.as_ref(),
            "add" => file.add.as_ref(),
            _ => None,
        };
        mistake(at.unwrap_or(&file.topic), message)
    })
}
