//! Hosts that are connected to without the proxy.

use std::net::IpAddr;

use ipnet::IpNet;

/// A list as curl has it in `no_proxy`: names, domains, addresses and networks, separated by commas or blanks.
///
/// A name stands for itself and for all names below it, with a dot in front or without. An address and a network (CIDR)
/// stand for a target that is given as an address: names are not looked up. `*` stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    All,
    /// In lower case, without dots at its ends.
    Domain(String),
    Network(IpNet),
}

impl NoProxy {
    /// There is no text that is wrong: what is neither address nor network is a name.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        Self(entries.filter_map(Entry::parse).collect())
    }

    /// Whether a host, which may be an address, is on the list.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        let host = bare(host);
        let address: Option<IpAddr> = host.parse().ok();
        let name = normal(host);
        self.0.iter().any(|entry| match entry {
            Entry::All => true,
            Entry::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Entry::Domain(domain) => {
                address.is_none()
                    && name
                        .strip_suffix(domain.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let address = bare(text);
        if let Ok(address) = address.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        if let Ok(network) = text.replace(['[', ']'], "").parse() {
            return Some(Self::Network(network));
        }
        let domain = normal(text.strip_prefix('*').unwrap_or(text));
        (!domain.is_empty()).then_some(Self::Domain(domain))
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn normal(name: &str) -> String {
    name.trim_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_as_curl_does() {
        for (list, on_it, not_on_it) in [
            ("", &[][..], &["a", "192.0.2.1", "::1"][..]),
            ("*", &["a.example", "192.0.2.1", "::1", "[::1]"], &[]),
            (
                "example.com",
                &[
                    "example.com",
                    "EXAMPLE.com",
                    "example.com.",
                    "a.b.example.com",
                ],
                &["badexample.com", "example.com.evil", "com", "example.org"],
            ),
            (
                " .example.com , *.example.org\tlocalhost",
                &["example.com", "a.example.com", "a.example.org", "localhost"],
                &["badexample.com", "localhost.example", "192.0.2.1"],
            ),
            (
                "192.0.2.1,2001:db8::1,[2001:db8::2]",
                &["192.0.2.1", "2001:db8::1", "[2001:db8:0::1]", "2001:DB8::2"],
                &["192.0.2.10", "1.192.0.2.1.example", "2001:db8::3"],
            ),
            (
                "192.168.1.0/24 10.1.2.3/8,2001:db8::/32,[fd00::]/8",
                &["192.168.1.255", "10.255.0.1", "2001:db8:ffff::1", "fd12::1"],
                &[
                    "192.168.2.0",
                    "11.0.0.1",
                    "2001:db9::",
                    "192.168.1.0.example",
                ],
            ),
            // What is no network is a name that no host has.
            ("192.168.1.0/33", &[], &["192.168.1.0", "192.168.1.1"]),
        ] {
            let no_proxy = NoProxy::parse(list);
            for host in on_it {
                assert!(no_proxy.contains(host), "{host} and {list:?}");
            }
            for host in not_on_it {
                assert!(!no_proxy.contains(host), "{host} and {list:?}");
            }
        }
    }
}
