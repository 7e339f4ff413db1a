//! tedge-hsm-bridge.toml, as an operator writes it, made into endpoints and rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tedge_p11_client::{DEFAULT_SOCKET_PATH, Uri};
use toml::Spanned;

use crate::lane::MAX_ID;
use crate::preset::Preset;
use crate::profile::{Address, Broker, Configuration, Profile, Tls};
use crate::rule::{Retain, Rule, RuleError, matches};

/// Why there is nothing to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("{path}, line {line}, {key}: {message}")]
    Malformed {
        path: String,
        line: usize,
        key: String,
        message: String,
    },
}

/// Reads the configuration in `path`.
pub(crate) fn load(path: &Path) -> Result<Configuration, ConfigurationError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigurationError::Unreadable {
        path: name.clone(),
        error,
    })?;
    parse(&text).map_err(|mistake| {
        let (line, key) = place(&text, mistake.at);
        ConfigurationError::Malformed {
            path: name,
            line,
            key,
            // Some of toml's have several lines.
            message: mistake.message.replace('\n', " "),
        }
    })
}

/// What is wrong, and at which byte of the file.
#[derive(Debug)]
struct Mistake {
    at: usize,
    message: String,
}

fn mistake<T>(at: &Spanned<T>, message: impl Into<String>) -> Mistake {
    Mistake {
        at: at.span().start,
        message: message.into(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    local: FileLocal,
    cloud: BTreeMap<String, Spanned<FileCloud>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLocal {
    host: Option<Spanned<String>>,
    port: Option<u16>,
    socket: Option<PathBuf>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    keep_alive: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCloud {
    preset: Option<Preset>,
    host: Spanned<String>,
    port: Option<u16>,
    client_id: Spanned<String>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    keep_alive: Option<Spanned<u16>>,
    alpn: Option<Vec<String>>,
    tls12: Option<bool>,
    cert: PathBuf,
    ca: Option<PathBuf>,
    key: Option<Spanned<String>>,
    signer: Option<PathBuf>,
    health_topic: Option<Spanned<String>>,
    reconnect_max: Option<Spanned<u64>>,
    check_interval: Option<Spanned<u64>>,
    max_message: Option<Spanned<usize>>,
    max_held: Option<usize>,
    drop_refused: Option<u32>,
    max_in_flight: Option<Spanned<u16>>,
    #[serde(default)]
    out: Vec<FileRule>,
    #[serde(default, rename = "in")]
    into: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    topic: Spanned<String>,
    qos: Option<Spanned<u8>>,
    strip: Option<Spanned<String>>,
    add: Option<Spanned<String>>,
    #[serde(default)]
    retain: Retain,
}

fn parse(text: &str) -> Result<Configuration, Mistake> {
    let file: File = toml::from_str(text).map_err(|error| Mistake {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    })?;
    let local = file.local;
    if file.cloud.is_empty() {
        return Err(Mistake {
            at: 0,
            message: "there is no cloud in it".to_owned(),
        });
    }
    let mut profiles: Configuration = Vec::new();
    for (name, cloud) in file.cloud {
        let table = Spanned::new(cloud.span(), ());
        let new = profile(name, &local, cloud)?;
        if let Some(other) = profiles.iter().find(|other| other.excludes(&new)) {
            let message = format!(
                "[cloud.{}] has the same host, port and client id, or the same health topic: each would end the \
                 other's connection, or overwrite its health",
                other.name
            );
            return Err(mistake(&table, message));
        }
        profiles.push(new);
    }
    Ok(profiles)
}

fn profile(name: String, local: &FileLocal, file: Spanned<FileCloud>) -> Result<Profile, Mistake> {
    let table = Spanned::new(file.span(), ());
    let file = file.into_inner();
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    {
        let message = format!("the name {name:?} may have letters, digits, - and _ only");
        return Err(mistake(&table, message));
    }
    let client_id = file.client_id.get_ref().clone();
    if client_id.is_empty() || client_id.contains(['+', '#', '/', '\0']) {
        let message = "a client id is not empty, and has no + # or /";
        return Err(mistake(&file.client_id, message));
    }
    let server_name = ServerName::try_from(file.host.get_ref().clone())
        .map_err(|_| mistake(&file.host, "it is no host name or address"))?;
    let defaults = Preset::defaults(file.preset, file.host.get_ref(), &client_id);
    let (out, into) = rules(&table, &file, &client_id)?;
    let health_topic = health_topic(&name, &file, &out)?;
    let port = file.port.unwrap_or(defaults.port);
    let alpn = file.alpn.unwrap_or_else(|| Preset::alpn(file.preset, port));
    let tls = Tls {
        name: server_name,
        ca: file.ca.unwrap_or_else(|| PathBuf::from(DEFAULT_CA)),
        cert: file.cert,
        key: file.key.map(key).transpose()?,
        signer: file
            .signer
            .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET_PATH)),
        alpn,
        tls12: file.tls12.unwrap_or(defaults.tls12),
    };
    let reconnect_max = bounded(file.reconnect_max, 60, 1..=3600)?;
    let check_interval = bounded(file.check_interval, 60, 1..=86_400)?;
    let max_message = bounded(file.max_message, defaults.max_message, 128..=268_435_455)?;
    Ok(Profile {
        local: local_broker(&name, local)?,
        cloud: Broker {
            address: Address::Tcp(file.host.into_inner(), port),
            client_id,
            username: file.username.or(defaults.username),
            password_file: file.password_file,
            keep_alive: bounded(file.keep_alive, defaults.keep_alive, 5..=1160)?,
            reconnect_max: Duration::from_secs(reconnect_max),
        },
        tls,
        out,
        into,
        health_topic,
        max_message,
        max_held: file.max_held.unwrap_or(DEFAULT_MAX_HELD),
        drop_refused: file.drop_refused.unwrap_or(0),
        check_interval: Duration::from_secs(check_interval),
        window: bounded(file.max_in_flight, DEFAULT_WINDOW, 1..=MAX_ID / 2)?,
        name,
    })
}

fn local_broker(profile: &str, file: &FileLocal) -> Result<Broker, Mistake> {
    let address = match (&file.host, &file.socket) {
        (Some(host), Some(_)) => {
            return Err(mistake(host, "host or socket, not both"));
        }
        (None, Some(socket)) => Address::Unix(socket.clone()),
        (host, None) => {
            let host = host.as_ref().map_or("127.0.0.1", |host| host.get_ref());
            Address::Tcp(host.to_owned(), file.port.unwrap_or(1883))
        }
    };
    Ok(Broker {
        address,
        client_id: format!("tedge-hsm-bridge-{profile}"),
        username: file.username.clone(),
        password_file: file.password_file.clone(),
        keep_alive: bounded(file.keep_alive.clone(), 60, 5..=3600)?,
        reconnect_max: LOCAL_RECONNECT_MAX,
    })
}

fn rules(
    table: &Spanned<()>,
    file: &FileCloud,
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

fn rule(file: &FileRule, client_id: &str) -> Result<Rule, Mistake> {
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

fn health_topic(name: &str, file: &FileCloud, out: &[Rule]) -> Result<String, Mistake> {
    let Some(topic) = &file.health_topic else {
        return Ok(format!(
            "te/device/main/service/tedge-hsm-bridge-{name}/status/health"
        ));
    };
    let text = topic.get_ref();
    if text.is_empty() || text.contains(['+', '#', '\0']) {
        return Err(mistake(topic, "it is no topic"));
    }
    if out.iter().any(|rule| matches(&rule.filter, text)) {
        log::debug!("{name}: the health topic goes to the cloud, too");
    }
    Ok(text.clone())
}

fn key(text: Spanned<String>) -> Result<String, Mistake> {
    let uri: Uri = text
        .get_ref()
        .parse()
        .map_err(|error: tedge_p11_client::UriError| mistake(&text, error.to_string()))?;
    if uri.pin.is_some() {
        return Err(mistake(&text, "no PIN here: the signer has it"));
    }
    Ok(text.into_inner())
}

fn bounded<T: PartialOrd + std::fmt::Display + Copy>(
    value: Option<Spanned<T>>,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, Mistake> {
    let Some(value) = value else {
        return Ok(default);
    };
    if !range.contains(value.get_ref()) {
        let message = format!("from {} to {}", range.start(), range.end());
        return Err(mistake(&value, message));
    }
    Ok(*value.get_ref())
}

/// The line of a byte of the file, and what that line sets.
fn place(text: &str, at: usize) -> (usize, String) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    let key = if key.is_empty() { "the file" } else { key };
    (before.matches('\n').count() + 1, key.to_owned())
}

/// Of Debian's and Yocto's package ca-certificates.
const DEFAULT_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
const DEFAULT_MAX_HELD: usize = 4 * 1024 * 1024;
const DEFAULT_WINDOW: u16 = 100;
/// It is on the same machine: trying often costs nothing.
const LOCAL_RECONNECT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "[cloud.c8y]\nhost = \"example.com\"\nclient_id = \"dev1\"\ncert = \"c.pem\"\n";

    fn error(text: &str) -> (usize, String, String) {
        let mistake = parse(text).unwrap_err();
        let (line, key) = place(text, mistake.at);
        (line, key, mistake.message)
    }

    #[test]
    fn a_preset_is_all_it_takes() {
        let text = format!("{HEAD}preset = \"aws-iot\"\nport = 443\n");
        let profile = parse(&text).unwrap().remove(0);
        assert_eq!(
            profile.cloud.address,
            Address::Tcp("example.com".into(), 443)
        );
        assert_eq!(profile.tls.alpn, ["x-amzn-mqtt-ca"]);
        assert!(!profile.tls.tls12);
        let target = profile.out[0].target("aws/td/x");
        assert_eq!(target.as_deref(), Some("thinedge/dev1/td/x"));
        assert_eq!(
            profile.local.address,
            Address::Tcp("127.0.0.1".into(), 1883)
        );
    }

    #[test]
    fn every_preset_is_valid_and_has_no_loop() {
        for (preset, port) in [
            ("cumulocity", 8883),
            ("cumulocity-mqtt-service", 9883),
            ("aws-iot", 8883),
            ("azure-iot-hub", 8883),
            ("azure-event-grid", 8883),
        ] {
            let profile = parse(&format!("{HEAD}preset = \"{preset}\"\n"))
                .unwrap()
                .remove(0);
            assert_eq!(
                profile.cloud.address,
                Address::Tcp("example.com".into(), port)
            );
            assert!(
                !profile.out.is_empty() && !profile.into.is_empty(),
                "{preset}"
            );
        }
    }

    #[test]
    fn several_clouds_have_their_own() {
        let text = format!(
            "[local]\nsocket = \"/run/mosquitto.sock\"\n{HEAD}preset = \"cumulocity\"\n\
             [cloud.mine]\nhost = \"h\"\nclient_id = \"d\"\ncert = \"c\"\nkey = \"pkcs11:object=two\"\n\
             out = [{{ topic = \"a/#\", add = \"{{client_id}}/\", retain = \"keep\" }}]\n"
        );
        let profiles = parse(&text).unwrap();
        assert_eq!(profiles.len(), 2);
        assert_eq!(profiles[1].tls.key.as_deref(), Some("pkcs11:object=two"));
        assert_eq!(profiles[1].out[0].target("a/b").unwrap(), "d/a/b");
        assert_ne!(profiles[0].local.client_id, profiles[1].local.client_id);
    }

    #[test]
    fn mistakes_have_line_and_key() {
        for (text, line, key, message) in [
            ("", 1, "the file", "missing field `cloud`"),
            ("[cloud.x]\nhost = \"h\"\n", 1, "[cloud.x]", "missing field"),
            ("[cloud.x]\nhots = \"h\"\n", 2, "hots", "unknown field"),
            (HEAD, 1, "[cloud.c8y]", "no preset and no rules"),
            (
                &format!(
                    "{HEAD}preset = \"cumulocity\"\n{}preset = \"aws-iot\"\n",
                    HEAD.replace("c8y", "second")
                ),
                6,
                "[cloud.second]",
                "[cloud.c8y] has the same",
            ),
            (&format!("{HEAD}port = 70000\n"), 5, "port", "expected u16"),
            (
                &format!("{HEAD}preset = \"gcp\"\n"),
                5,
                "preset",
                "unknown variant",
            ),
            (
                &format!("{HEAD}key = \"x\"\n[[cloud.c8y.out]]\ntopic = \"a\"\n"),
                5,
                "key",
                "pkcs11:",
            ),
            (
                &format!(
                    "{HEAD}key = \"pkcs11:object=x?pin-value=1\"\nout = [{{ topic = \"a\" }}]\n"
                ),
                5,
                "key",
                "no PIN here",
            ),
            (
                &format!("{HEAD}[[cloud.c8y.out]]\ntopic = \"a/#/b\"\n"),
                6,
                "topic",
                "no topic filter",
            ),
            (
                &format!("{HEAD}[[cloud.c8y.out]]\ntopic = \"a/#\"\nstrip = \"b/\"\n"),
                7,
                "strip",
                "do not all begin",
            ),
            (
                &format!("{HEAD}[[cloud.c8y.in]]\ntopic = \"a\"\nqos = 2\n"),
                7,
                "qos",
                "0 or 1",
            ),
            (
                &format!(
                    "{HEAD}[[cloud.c8y.in]]\ntopic = \"a/#\"\n[[cloud.c8y.out]]\ntopic = \"a/b\"\n"
                ),
                6,
                "topic",
                "go round",
            ),
            (
                &format!("{HEAD}keep_alive = 1\nout = [{{ topic = \"a\" }}]\n"),
                5,
                "keep_alive",
                "from 5",
            ),
            (
                "[local]\nhost = \"h\"\nsocket = \"s\"\n[cloud.x]\nhost = \"h\"\nclient_id = \"d\"\ncert = \"c\"\nout = [{ topic = \"a\" }]\n",
                2,
                "host",
                "not both",
            ),
            (
                "[cloud.x]\nhost = \"h h\"\nclient_id = \"d\"\ncert = \"c\"\n",
                2,
                "host",
                "no host name",
            ),
            ("[cloud.x\n", 1, "[cloud.x", "unclosed"),
        ] {
            let error = error(text);
            assert_eq!(
                (error.0, error.1.as_str()),
                (line, key),
                "{text}\n{error:?}"
            );
            assert!(error.2.contains(message), "{text}\n{error:?}");
        }
    }
}
