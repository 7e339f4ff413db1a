//! Connections through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6) on a TCP connection that the caller has made to
//! the proxy, and the settings that say which targets go through it.
//!
//! The name of the target goes to the proxy as it is: nobody looks it up here.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod address;
mod environment;
mod error;
mod login;
mod no_proxy;
mod settings;
mod tunnel;

pub use address::{AddressError, ProxyAddress};
pub use environment::from_environment;
pub use error::{Problem, ProxyError, SettingsError};
pub use login::{Login, Password};
pub use no_proxy::NoProxy;
pub use settings::{Proxy, ProxySettings};
