//! Which brokers the device connects to: by options, else by tedge.toml.

use std::path::{Path, PathBuf};

use tedge_p11_config::{Cloud, Connections};

use crate::root::Root;

/// A broker with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    /// As its certificate has it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// File or folder with the CAs of its certificate.
    pub(crate) ca: PathBuf,
}

/// The broker `host`, else all that tedge.toml names, with `port` where it names none, and the CAs in `ca`, else those
/// of tedge.toml, else the system's.
pub(crate) fn brokers(
    connections: Connections,
    root: &Root,
    host: Option<&str>,
    port: u16,
    ca: Option<&Path>,
) -> Vec<Broker> {
    let clouds = [connections.c8y, connections.az, connections.aws];
    let ca_of = |cloud: Option<&Cloud>| match ca {
        Some(ca) => ca.to_owned(),
        None => root.path(
            cloud
                .and_then(|cloud| cloud.root_cert_path.as_deref())
                .unwrap_or(Path::new("/etc/ssl/certs")),
        ),
    };
    if let Some(host) = host {
        return vec![Broker {
            host: host.to_owned(),
            port,
            ca: ca_of(clouds.iter().find(|cloud| cloud.url.is_some())),
        }];
    }
    let configured = clouds.iter().filter_map(|cloud| {
        let url = cloud.mqtt.as_ref().or(cloud.url.as_ref())?;
        let (host, port) = with_port(url, port);
        Some(Broker {
            host,
            port,
            ca: ca_of(Some(cloud)),
        })
    });
    configured.collect()
}

/// `HOST[:PORT]` in its parts.
pub(crate) fn with_port(host: &str, port: u16) -> (String, u16) {
    match host.rsplit_once(':') {
        // An IPv6 address has more colons, unless it is in brackets.
        Some((name, own)) if !name.contains(':') || name.ends_with(']') => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            (name.to_owned(), own.parse().unwrap_or(port))
        }
        _ => (host.to_owned(), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_follow_the_host() {
        for (given, host, port) in [
            ("broker", "broker", 8883),
            ("broker:443", "broker", 443),
            ("::1", "::1", 8883),
            ("[::1]:443", "::1", 443),
        ] {
            assert_eq!(with_port(given, 8883), (host.to_owned(), port), "{given}");
        }
    }
}
