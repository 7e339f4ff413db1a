//! Where a tenant of Cumulocity is.

use crate::brokers::with_port;
use crate::cumulocity::{self, HTTPS};

/// A tenant of Cumulocity.
#[derive(Debug)]
pub(crate) struct Tenant {
    http: (String, u16),
    /// Its MQTT broker.
    pub(crate) mqtt: (String, u16),
}

impl Tenant {
    pub(crate) fn new(http: &str, mqtt: Option<&str>) -> Self {
        let http = with_port(http, HTTPS);
        let mqtt = match mqtt {
            Some(mqtt) => with_port(mqtt, SECURE_MQTT),
            None => (http.0.clone(), SECURE_MQTT),
        };
        Self { http, mqtt }
    }

    pub(crate) fn est_url(&self) -> String {
        cumulocity::est_url(&self.http.0, self.http.1)
    }

    /// Its MQTT broker, as an option has it.
    pub(crate) fn broker(&self) -> String {
        let (host, port) = &self.mqtt;
        // An IPv6 address.
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

/// IANA's name for port 8883.
const SECURE_MQTT: u16 = 8883;
