//! What is carried, and how the brokers are reached.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tedge_p11_client::Uri;
use tedge_proxy::Proxy;
use tedge_tls::PostQuantum;

use crate::rule::Rule;

/// All that is carried: a profile for each cloud.
pub(crate) type Configuration = Vec<Profile>;

/// One cloud, with its own key, sessions and rules.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) local: Broker,
    pub(crate) cloud: Broker,
    pub(crate) tls: Tls,
    /// From the local broker to the cloud.
    pub(crate) out: Vec<Rule>,
    /// From the cloud to the local broker.
    pub(crate) into: Vec<Rule>,
    /// On the local broker, retained.
    pub(crate) health_topic: String,
    /// Most bytes of a message, topic included.
    pub(crate) max_message: usize,
    /// Most bytes that are held in each direction.
    pub(crate) max_held: usize,
    /// Most messages in flight in each direction.
    pub(crate) window: u16,
    /// How often in a row a broker closes the connection over a message, or does not acknowledge it, until that is
    /// dropped; 0 for never.
    pub(crate) drop_refused: u32,
    /// How often the key and the certificate are looked at while the connection stands.
    pub(crate) check_interval: Duration,
}

impl Profile {
    /// Whether it can't be carried along with another one.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        let broker = |profile: &Self| {
            let broker = &profile.cloud;
            (broker.address.clone(), broker.client_id.clone())
        };
        broker(self) == broker(other) || self.health_topic == other.health_topic
    }
}

/// How a broker is connected to.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(crate) address: Address,
    /// What it is connected to through.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    /// Seconds.
    pub(crate) keep_alive: u16,
    /// Longest pause between attempts.
    pub(crate) reconnect_max: Duration,
    /// For the answer to CONNECT, SUBSCRIBE or UNSUBSCRIBE, and for the acknowledgement of the oldest message.
    pub(crate) ack_timeout: Duration,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// What authenticates both ends.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) name: ServerName<'static>,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    /// PKCS#11 URI; without it, the one key that the signer is confined to.
    pub(crate) key: Uri,
    pub(crate) signer: PathBuf,
    pub(crate) alpn: Vec<String>,
    pub(crate) tls12: bool,
    pub(crate) post_quantum: PostQuantum,
}
