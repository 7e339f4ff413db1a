//! What the bridge's configuration says of its connection to a broker.

use std::path::Path;

use tedge_file::MAX_SETTINGS;
use tedge_tls::PostQuantum;
use toml_edit::{DocumentMut, Item, TableLike};

use crate::brokers::Broker;

/// The table of a cloud, as far as it matters for a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BridgeTable {
    /// `NAME` of `[cloud.NAME]`.
    pub(super) name: String,
    pub(super) post_quantum: PostQuantum,
}

impl BridgeTable {
    /// The table of `broker` in the bridge's configuration `path` that sets `post_quantum`: of several the strictest. Without
    /// such a table, or where the bridge would refuse the file or the word, there is none: `tedge-hsm-bridge --check` says why.
    pub(super) fn of(broker: &Broker, path: &Path) -> Option<Self> {
        let text = tedge_file::read_text(path, MAX_SETTINGS).ok()?;
        Self::parse(&text, broker)
    }

    fn parse(text: &str, broker: &Broker) -> Option<Self> {
        let document: DocumentMut = text.parse().ok()?;
        let clouds = document.get("cloud")?.as_table_like()?;
        let tables = clouds.iter().filter_map(|(name, cloud)| {
            let cloud = cloud.as_table_like()?;
            let word = cloud.get("post_quantum")?.as_str()?;
            is_of(broker, cloud).then_some(Self {
                name: name.to_owned(),
                post_quantum: word.parse().ok()?,
            })
        });
        tables.max_by_key(|table| match table.post_quantum {
            PostQuantum::Prefer => 0,
            PostQuantum::Off => 1,
            PostQuantum::Require => 2,
        })
    }
}

fn is_of(broker: &Broker, cloud: &dyn TableLike) -> bool {
    let host = cloud.get("host").and_then(Item::as_str);
    let port = match cloud.get("port") {
        Some(port) => port.as_integer(),
        None if cloud.get("preset").and_then(Item::as_str) == Some(MQTT_SERVICE) => Some(9883),
        None => Some(8883),
    };
    host.is_some_and(|host| host.eq_ignore_ascii_case(&broker.host))
        && port == Some(broker.port.into())
}

/// The preset of the bridge with a port of its own.
const MQTT_SERVICE: &str = "cumulocity-mqtt-service";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_broker_counts() {
        let of = |text: &str, port: u16| {
            let broker = Broker {
                host: "a.example".to_owned(),
                port,
                ca: "/ca".into(),
            };
            let table = BridgeTable::parse(text, &broker)?;
            Some((table.name, table.post_quantum))
        };
        let is = |name: &str, post_quantum| Some((name.to_owned(), post_quantum));
        let require = "[cloud.c8y]\nhost = \"A.example\"\npost_quantum = \"require\"\n";
        assert_eq!(of(require, 8883), is("c8y", PostQuantum::Require));
        assert_eq!(of(require, 443), None);
        let service = format!("{require}preset = \"cumulocity-mqtt-service\"\n");
        assert_eq!(of(&service, 8883), None);
        assert_eq!(of(&service, 9883), is("c8y", PostQuantum::Require));
        let both = format!(
            "{require}[cloud.other]\nhost = \"a.example\"\nport = 8883\npost_quantum = \"off\"\n"
        );
        assert_eq!(of(&both, 8883), is("c8y", PostQuantum::Require));
        for text in [
            "",
            "[cloud",
            "cloud = 1\n",
            "[cloud.c8y]\nhost = \"a.example\"\n",
            "[cloud.c8y]\nhost = \"a.example\"\npost_quantum = \"perhaps\"\n",
            "[cloud.c8y]\nhost = \"b.example\"\npost_quantum = \"off\"\n",
        ] {
            assert_eq!(of(text, 8883), None, "{text}");
        }
    }
}
