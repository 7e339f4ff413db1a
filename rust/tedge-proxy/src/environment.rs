//! The usual variables, as curl obeys them for a target with TLS.

use std::ffi::OsString;

use crate::address::{AddressError, ProxyAddress};
use crate::error::SettingsError;
use crate::login::{Login, Password};
use crate::no_proxy::NoProxy;
use crate::settings::{Proxy, ProxySettings};

/// What `https_proxy` and, without it, `all_proxy` say, and `no_proxy`; each in lower case first, then in upper case. An
/// empty variable counts as none. `http_proxy` and `HTTP_PROXY` are for targets without TLS, and are not looked at. The
/// error comes with the name of the variable.
pub fn from_environment(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<ProxySettings, (&'static str, SettingsError)> {
    let first = |names: &[&'static str]| {
        let mut values = names.iter().filter_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        });
        values.next()
    };
    let Some((name, value)) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
    else {
        return Ok(ProxySettings::default());
    };
    let failed = |error: SettingsError| (name, error);
    let text = value.to_str().ok_or(failed(AddressError::Host.into()))?;
    let (address, login) = ProxyAddress::with_login(text).map_err(|error| failed(error.into()))?;
    let login = login
        .map(|(user, password)| Login::new(user, Password::Text(password)))
        .transpose()
        .map_err(failed)?;
    let no_proxy = first(&["no_proxy", "NO_PROXY"]);
    let no_proxy = no_proxy.map(|(_, list)| NoProxy::parse(&list.to_string_lossy()));
    Ok(ProxySettings::new(
        Proxy::new(address, login),
        no_proxy.unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_obeyed_in_curls_order() {
        let settings = |variables: &[(&str, &str)]| {
            from_environment(|name| {
                let mut found = variables.iter().filter(|(key, _)| *key == name);
                found.next().map(|(_, value)| value.into())
            })
        };
        let proxy = |variables: &[(&str, &str)]| {
            let settings = settings(variables).unwrap();
            settings.for_host("a.example").map(ToString::to_string)
        };
        assert_eq!(proxy(&[]), None);
        // A CGI program's HTTP_PROXY comes from its client's header `Proxy`.
        assert_eq!(
            proxy(&[("HTTP_PROXY", "evil:1"), ("http_proxy", "p:1")]),
            None
        );
        let all = [
            ("ALL_PROXY", "http://p:4"),
            ("all_proxy", "http://p:3"),
            ("HTTPS_PROXY", "http://p:2"),
            ("https_proxy", "http://p:1"),
        ];
        for (count, port) in [(1, "p:4"), (2, "p:3"), (3, "p:2"), (4, "p:1")] {
            assert_eq!(proxy(&all[..count]).unwrap(), port);
        }
        let empty = [("https_proxy", ""), ("HTTPS_PROXY", "http://me:pw@p:2")];
        assert_eq!(proxy(&empty).unwrap(), "p:2");
        for (name, list) in [("no_proxy", ".example"), ("NO_PROXY", "*")] {
            assert_eq!(proxy(&[("https_proxy", "p:1"), (name, list)]), None);
        }
        let lower_first = [
            ("https_proxy", "p:1"),
            ("NO_PROXY", "*"),
            ("no_proxy", "other"),
        ];
        assert_eq!(proxy(&lower_first).unwrap(), "p:1");
        let (name, error) = settings(&[("all_proxy", "socks5://me:hunter2@p")]).unwrap_err();
        assert_eq!(name, "all_proxy");
        assert!(!error.to_string().contains("hunter2"));
    }
}
