//! Which connections go through a proxy.

use std::fmt;

use crate::address::ProxyAddress;
use crate::error::SettingsError;
use crate::login::Login;
use crate::no_proxy::NoProxy;

/// A proxy, or none, and the hosts that it is not for. By default all is connected to directly.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    proxy: Option<Proxy>,
    no_proxy: NoProxy,
}

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(crate) address: ProxyAddress,
    pub(crate) login: Option<Login>,
}

impl ProxySettings {
    /// `proxy` for all but the hosts in `no_proxy`.
    #[must_use]
    pub fn new(proxy: Proxy, no_proxy: NoProxy) -> Self {
        Self {
            proxy: Some(proxy),
            no_proxy,
        }
    }

    /// The same proxy with another list.
    #[must_use]
    pub fn with_no_proxy(self, no_proxy: NoProxy) -> Self {
        Self { no_proxy, ..self }
    }

    /// What a connection to `host`, a name or an address, goes through.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Option<&Proxy> {
        self.proxy
            .as_ref()
            .filter(|_| !self.no_proxy.contains(host))
    }
}

impl Proxy {
    /// The proxy at `address`, which is logged in to if there is a `login`.
    #[must_use]
    pub fn new(address: ProxyAddress, login: Option<Login>) -> Self {
        Self { address, login }
    }

    /// The same out of the parts of a file: an address of the form `[http://]HOST[:PORT]`, a user, and a password.
    pub fn parse(
        address: &str,
        user: Option<String>,
        password: Option<crate::Password>,
    ) -> Result<Self, SettingsError> {
        let login = match (user, password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Login::new(user, password)?),
            _ => return Err(SettingsError::Half),
        };
        Ok(Self::new(address.parse()?, login))
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &ProxyAddress {
        &self.address
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
