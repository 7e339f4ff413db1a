//! Where a proxy is.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// Host and port of an HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddress {
    host: String,
    port: u16,
}

/// Why a text is no address of a proxy. None of these has the text in it: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with `https://`, `socks5://` or the like.
    #[error("only http:// is supported for a proxy; the connection through it has TLS of its own")]
    Scheme,
    /// There is no host, or it has characters that no host has.
    #[error("this is not of the form http://HOST[:PORT]")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is a number from 1 to 65535")]
    Port,
    /// It has a user or a password.
    #[error(
        "the address has a user or a password; give these by their own settings (--proxy-user and --proxy-password-file, or username and password)"
    )]
    Login,
    /// The user or the password is not percent-encoded UTF-8.
    #[error("the user or the password is not percent-encoded UTF-8")]
    Encoding,
}

/// A user and a password, as in a URL.
type UserInfo = (String, Zeroizing<String>);

impl ProxyAddress {
    /// Name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// From 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `[http://][USER[:PASSWORD]@]HOST[:PORT][/]`, as environment variables have it.
    pub(crate) fn with_login(text: &str) -> Result<(Self, Option<UserInfo>), AddressError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(AddressError::Scheme),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(user_info(login)?), place),
            None => (None, rest),
        };
        let (host, port) = split(place)?;
        if !is_host(host) {
            return Err(AddressError::Host);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| AddressError::Port)?,
        };
        if port == 0 {
            return Err(AddressError::Port);
        }
        let host = host.to_owned();
        Ok((Self { host, port }, login))
    }
}

impl FromStr for ProxyAddress {
    type Err = AddressError;

    /// `[http://]HOST[:PORT]`; without a port it is 80, as thin-edge.io has it.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match Self::with_login(text)? {
            (address, None) => Ok(address),
            (_, Some(_)) => Err(AddressError::Login),
        }
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_and_port(&self.host, self.port))
    }
}

/// `HOST:PORT` with an IPv6 address in brackets (RFC 3986, section 3.2.2).
pub(crate) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whether a text can be a host: nothing in it could end a line, or mean something else in a URL.
pub(crate) fn is_host(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match text.parse::<std::net::IpAddr>() {
        Ok(_) => true,
        Err(_) => (1..=253).contains(&text.len()) && text.chars().all(is_part),
    }
}

/// A host, in brackets or not, and what is behind its colon.
fn split(place: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(AddressError::Host)?;
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err(AddressError::Host),
        };
    }
    match place.split_once(':') {
        // An IPv6 address without brackets, which has no port.
        Some((_, rest)) if rest.contains(':') => Ok((place, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn user_info(text: &str) -> Result<UserInfo, AddressError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text| {
        let bytes = Zeroizing::new(percent_decode_str(text).collect::<Vec<u8>>());
        let text = std::str::from_utf8(&bytes).map_err(|_| AddressError::Encoding)?;
        Ok(Zeroizing::new(text.to_owned()))
    };
    Ok((decoded(user)?.to_string(), decoded(password)?))
}

const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_taken() {
        for (text, host, port) in [
            ("http://proxy:3128", "proxy", 3128),
            ("HTTP://proxy.example:3128/", "proxy.example", 3128),
            ("proxy:8080", "proxy", 8080),
            ("proxy", "proxy", 80),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("http://[2001:db8::1]:3128", "2001:db8::1", 3128),
            ("[2001:db8::1]", "2001:db8::1", 80),
            ("2001:db8::1", "2001:db8::1", 80),
        ] {
            let address: ProxyAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
        for (text, error) in [
            ("", AddressError::Host),
            ("http://", AddressError::Host),
            ("http://:80", AddressError::Host),
            ("http://a b:80", AddressError::Host),
            ("http://a\r\nX: y:80", AddressError::Host),
            ("http://a/path", AddressError::Host),
            ("http://a?b", AddressError::Host),
            ("http://[::1", AddressError::Host),
            ("http://[::1]3128", AddressError::Host),
            ("http://[a]:1]:2", AddressError::Port),
            ("http://a:", AddressError::Port),
            ("http://a:0", AddressError::Port),
            ("http://a:65536", AddressError::Port),
            ("https://a:443", AddressError::Scheme),
            ("socks5h://a:1080", AddressError::Scheme),
            ("http://me@a:1", AddressError::Login),
            ("http://me:hunter2@a:1", AddressError::Login),
        ] {
            assert_eq!(text.parse::<ProxyAddress>(), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_variable_may_have_a_user_and_a_password() {
        let (address, login) =
            ProxyAddress::with_login("http://f%40ctory:p%3Aw@d%25@proxy:3128/").unwrap();
        let (user, password) = login.unwrap();
        assert_eq!(address.to_string(), "proxy:3128");
        assert_eq!((user.as_str(), password.as_str()), ("f@ctory", "p:w@d%"));
        let wrong = ProxyAddress::with_login("http://%ff:x@proxy").unwrap_err();
        assert_eq!(wrong, AddressError::Encoding);
    }
}
