//! tedge-hsm-bridge.toml, as an operator writes it, made into endpoints and rules.

mod file;
#[cfg(test)]
mod manual;
mod mistake;
mod proxies;
mod rules;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tedge_file::{FileError, MAX_SETTINGS};
use tedge_p11_client::{DEFAULT_SOCKET_PATH, Uri};
use tedge_proxy::ProxySettings;
use tedge_tls::PostQuantum;
use toml::Spanned;

use self::file::{Cloud, File, Local};
use self::mistake::{Mistake, mistake};
use self::rules::rules;
use crate::forward_queue::MAX_ID;
use crate::preset::Preset;
use crate::profile::{Address, Broker, Configuration, Profile, Tls};
use crate::rule::{Rule, matches};

/// Why there is nothing to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: String, error: FileError },
    #[error(
        "no cloud is configured: there is no {0} yet; /usr/share/tedge-hsm/tedge-hsm-bridge.toml is an example"
    )]
    NoFile(String),
    /// As in that example.
    #[error("{0}: no cloud is configured: it has no table [cloud.NAME] yet")]
    NoCloud(String),
    #[error("{path}, line {line}, {key}: {message}")]
    Malformed {
        path: String,
        line: usize,
        key: String,
        message: String,
    },
}

/// Reads the configuration in `path`. Without a table `[proxy]` there, that of the tedge.toml in `config_dir` counts. One that
/// can't be used is no reason to carry nothing: it is the second of what is returned, and nothing goes through a proxy.
pub(crate) fn load(
    path: &Path,
    config_dir: &Path,
) -> Result<(Configuration, Option<String>), ConfigurationError> {
    let name = path.display().to_string();
    let text = tedge_file::read_text(path, MAX_SETTINGS).map_err(|error| {
        let path = name.clone();
        if error.is_not_found() {
            ConfigurationError::NoFile(path)
        } else {
            ConfigurationError::Unreadable { path, error }
        }
    })?;
    let (mut configuration, has_proxy) = parse(&text).map_err(|mistake| {
        let (line, key) = position(&text, mistake.at);
        ConfigurationError::Malformed {
            path: name.clone(),
            line,
            key,
            // Some of toml's have several lines.
            message: mistake.message.replace('\n', " "),
        }
    })?;
    if configuration.is_empty() {
        return Err(ConfigurationError::NoCloud(name));
    }
    if has_proxy {
        return Ok((configuration, None));
    }
    let (proxies, trouble) = match proxies::of_tedge_toml(config_dir) {
        Ok(proxies) => (proxies, None),
        Err(trouble) => (ProxySettings::default(), Some(trouble)),
    };
    go_through(&proxies, &mut configuration);
    Ok((configuration, trouble))
}

/// The clouds, and whether a table `[proxy]` is there.
fn parse(text: &str) -> Result<(Configuration, bool), Mistake> {
    let file: File = toml::from_str(text).map_err(|error| Mistake {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    })?;
    let local = file.local;
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
    if let Some(table) = &file.proxy {
        go_through(&proxies::own(table)?, &mut profiles);
    }
    Ok((profiles, file.proxy.is_some()))
}

/// Which clouds are connected to through a proxy.
fn go_through(proxies: &ProxySettings, configuration: &mut Configuration) {
    for profile in configuration {
        if let Address::Tcp(host, _) = &profile.cloud.address {
            profile.cloud.proxy = proxies.for_host(host).cloned();
        }
    }
}

fn profile(name: String, local: &Local, file: Spanned<Cloud>) -> Result<Profile, Mistake> {
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
    let tls12 = file.tls12.unwrap_or(defaults.tls12);
    let tls = Tls {
        name: server_name,
        ca: file.ca.unwrap_or_else(|| PathBuf::from(DEFAULT_CA)),
        cert: file.cert,
        key: file.key.as_ref().map(key).transpose()?.unwrap_or_default(),
        signer: file
            .signer
            .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET_PATH)),
        alpn,
        post_quantum: post_quantum(file.post_quantum.as_ref(), tls12)?,
        tls12,
    };
    let reconnect_max = bounded(file.reconnect_max, 60, 1..=3600)?;
    let ack_timeout = bounded(file.ack_timeout, DEFAULT_ACK_TIMEOUT, 5..=3600)?;
    let check_interval = bounded(file.check_interval, 60, 1..=86_400)?;
    let max_message = bounded(file.max_message, defaults.max_message, 128..=268_435_455)?;
    Ok(Profile {
        local: local_broker(&name, local)?,
        cloud: Broker {
            address: Address::Tcp(file.host.into_inner(), port),
            proxy: None,
            client_id,
            username: file.username.or(defaults.username),
            password_file: file.password_file,
            keep_alive: bounded(file.keep_alive, defaults.keep_alive, 5..=1160)?,
            reconnect_max: Duration::from_secs(reconnect_max),
            ack_timeout: Duration::from_secs(ack_timeout),
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

fn local_broker(profile: &str, file: &Local) -> Result<Broker, Mistake> {
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
    let ack_timeout = bounded(file.ack_timeout.clone(), DEFAULT_ACK_TIMEOUT, 5..=3600)?;
    Ok(Broker {
        address,
        proxy: None,
        client_id: format!("tedge-hsm-bridge-{profile}"),
        username: file.username.clone(),
        password_file: file.password_file.clone(),
        keep_alive: bounded(file.keep_alive.clone(), 60, 5..=3600)?,
        reconnect_max: LOCAL_RECONNECT_MAX,
        ack_timeout: Duration::from_secs(ack_timeout),
    })
}

fn health_topic(name: &str, file: &Cloud, out: &[Rule]) -> Result<String, Mistake> {
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

fn key(text: &Spanned<String>) -> Result<Uri, Mistake> {
    let uri: Uri = text
        .get_ref()
        .parse()
        .map_err(|error: tedge_p11_client::UriError| mistake(text, error.to_string()))?;
    if uri.pin.is_some() {
        return Err(mistake(text, "no PIN here: the signer has it"));
    }
    Ok(uri)
}

fn post_quantum(word: Option<&Spanned<String>>, tls12: bool) -> Result<PostQuantum, Mistake> {
    let Some(word) = word else {
        return Ok(PostQuantum::default());
    };
    match word.get_ref().parse() {
        Ok(PostQuantum::Require) if tls12 => Err(mistake(
            word,
            "TLS 1.2, which tls12 or the preset allows, has no such key exchange: tls12 = false goes with it",
        )),
        Ok(post_quantum) => Ok(post_quantum),
        Err(error) => Err(mistake(word, error.to_string())),
    }
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
fn position(text: &str, at: usize) -> (usize, String) {
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
/// Seconds.
const DEFAULT_ACK_TIMEOUT: u64 = 60;
const DEFAULT_WINDOW: u16 = 100;
/// It is on the same machine: trying often costs nothing.
const LOCAL_RECONNECT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
