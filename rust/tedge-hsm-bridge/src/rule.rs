//! Which messages are forwarded, and under which topic.

use rumqttc::mqttbytes::{QoS, valid_filter, valid_topic};

/// One rule: messages whose topic matches the filter go to the other broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Subscribed to at the broker that messages come from.
    pub(crate) filter: String,
    /// Most that is asked of both brokers; a message published with less comes with less.
    pub(crate) qos: QoS,
    /// What the topic loses at its start.
    strip: String,
    /// What it gets instead.
    add: String,
    pub(crate) retain: Retain,
}

/// What becomes of the RETAIN flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Retain {
    /// Nothing is retained by the other broker.
    #[default]
    Never,
    /// As the message came. Brokers clear the flag for subscribers that were there before the message.
    Keep,
    /// The other broker keeps the last message of each topic.
    Always,
}

/// What is wrong with a rule, and which key of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RuleError {
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

impl Rule {
    pub(crate) fn new(
        filter: String,
        qos: QoS,
        strip: String,
        add: String,
        retain: Retain,
    ) -> Result<Self, RuleError> {
        let error = |key, message| Err(RuleError { key, message });
        if filter.contains('\0') || filter.len() > MAX_TOPIC_LEN || !valid_filter(&filter) {
            return error("topic", format!("{filter:?} is no topic filter"));
        }
        if filter.starts_with("$share/") {
            // Messages come with the rest as their topic; and the others of the group would get theirs.
            return error("topic", format!("{filter:?} is a shared subscription"));
        }
        let literal = filter.split(['+', '#']).next().unwrap_or_default();
        if !literal.starts_with(&strip) {
            return error(
                "strip",
                format!("the topics of {filter:?} do not all begin with {strip:?}"),
            );
        }
        if add.contains(['+', '#', '\0']) || add.len() > MAX_TOPIC_LEN {
            return error("add", format!("{add:?} cannot begin a topic"));
        }
        let rule = Self {
            filter,
            qos,
            strip,
            add,
            retain,
        };
        if rule.target_filter().is_empty() {
            return error("strip", "it leaves nothing of the topic".to_owned());
        }
        Ok(rule)
    }

    /// The topic at the other broker, if the rule is for this one.
    pub(crate) fn target(&self, topic: &str) -> Option<String> {
        if !matches(&self.filter, topic) {
            return None;
        }
        let target = [&self.add, topic.strip_prefix(&self.strip)?].concat();
        (valid_topic(&target) && !target.is_empty() && target.len() <= MAX_TOPIC_LEN)
            .then_some(target)
    }

    /// A filter that all its messages match at the other broker.
    pub(crate) fn target_filter(&self) -> String {
        let rest = self.filter.strip_prefix(&self.strip);
        [&self.add, rest.unwrap_or_default()].concat()
    }

    /// Whether what this rule delivers may be taken by `other`, which works in the opposite direction.
    pub(crate) fn feeds(&self, other: &Self) -> bool {
        intersect(&self.target_filter(), &other.filter)
    }
}

/// Whether a topic matches a filter, by MQTT 3.1.1, section 4.7. The one of rumqttc never matches topics
/// with a dollar sign, which clouds have.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            // `a/#` is for `a`, too, which is what this would have to go on for.
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether there is a topic that matches both filters.
fn intersect(one: &str, other: &str) -> bool {
    let hidden =
        |topic: &str, filter: &str| topic.starts_with('$') && filter.starts_with(['+', '#']);
    if hidden(one, other) || hidden(other, one) {
        return false;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

/// MQTT 3.1.1, section 4.7.3, in bytes.
const MAX_TOPIC_LEN: usize = 65535;

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(filter: &str, strip: &str, add: &str) -> Result<Rule, RuleError> {
        let text = str::to_owned;
        let qos = QoS::AtLeastOnce;
        Rule::new(text(filter), qos, text(strip), text(add), Retain::Never)
    }

    #[test]
    fn topics_match_filters() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a", false),
            ("a", "a/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+/c", "a/b/c", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$iothub/#", "$iothub/twin/res/200", true),
            ("+", "", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn prefixes_are_exchanged() {
        let rule_ = rule("te/+/m", "te/", "cloud/dev/").unwrap();
        assert_eq!(rule_.target("te/a/m").unwrap(), "cloud/dev/a/m");
        assert_eq!(rule_.target("te/a/x"), None);
        assert_eq!(rule_.target_filter(), "cloud/dev/+/m");
        // Matched as the parent of `te/#`, but there is no prefix to strip.
        assert_eq!(rule("te/#", "te/", "").unwrap().target("te"), None);
        assert_eq!(rule("a/b", "a/b", "x").unwrap().target("a/b").unwrap(), "x");
    }

    #[test]
    fn mistakes_name_their_key() {
        for (filter, strip, add, key) in [
            ("a/#/b", "", "", "topic"),
            ("", "", "", "topic"),
            ("$share/group/a", "", "", "topic"),
            ("a/b", "x/", "", "strip"),
            ("+/b", "a/", "", "strip"),
            ("a/#", "a/#", "", "strip"),
            ("a/b", "a/b", "", "strip"),
            ("a/b", "", "x/#/", "add"),
        ] {
            let error = rule(filter, strip, add).unwrap_err();
            assert_eq!(error.key, key, "{filter} {strip} {add}");
        }
    }

    #[test]
    fn loops_are_found() {
        let feeds = |(a, strip_a, add_a): (&str, &str, &str), b: &str| {
            let one = rule(a, strip_a, add_a).unwrap();
            one.feeds(&rule(b, "", "").unwrap())
        };
        assert!(feeds(("cmd/#", "", "c8y/"), "c8y/#"));
        assert!(feeds(("cmd/#", "", ""), "cmd/+/x"));
        assert!(feeds(("a/+/c", "", ""), "a/b/+"));
        assert!(!feeds(("cmd/#", "", "in/"), "out/#"));
        // A wildcard at the beginning is not for topics of the broker's own.
        assert!(!feeds(("get", "", "$aws/"), "#"));
        assert!(feeds(("get", "", "$aws/"), "$aws/+"));
        assert!(!feeds(("a/b", "", ""), "a/b/c"));
    }
}
