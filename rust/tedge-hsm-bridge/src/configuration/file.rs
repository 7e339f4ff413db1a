//! tedge-hsm-bridge.toml as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::preset::Preset;
use crate::rule::Retain;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) local: Local,
    pub(super) proxy: Option<Proxy>,
    #[serde(default)]
    pub(super) cloud: BTreeMap<String, Spanned<Cloud>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) address: Spanned<String>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) no_proxy: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Local {
    pub(super) host: Option<Spanned<String>>,
    pub(super) port: Option<u16>,
    pub(super) socket: Option<PathBuf>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) keep_alive: Option<Spanned<u16>>,
    pub(super) ack_timeout: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cloud {
    pub(super) preset: Option<Preset>,
    pub(super) host: Spanned<String>,
    pub(super) port: Option<u16>,
    pub(super) client_id: Spanned<String>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) keep_alive: Option<Spanned<u16>>,
    pub(super) ack_timeout: Option<Spanned<u64>>,
    pub(super) alpn: Option<Vec<String>>,
    pub(super) tls12: Option<bool>,
    pub(super) post_quantum: Option<Spanned<String>>,
    pub(super) cert: PathBuf,
    pub(super) ca: Option<PathBuf>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) signer: Option<PathBuf>,
    pub(super) health_topic: Option<Spanned<String>>,
    pub(super) reconnect_max: Option<Spanned<u64>>,
    pub(super) check_interval: Option<Spanned<u64>>,
    pub(super) max_message: Option<Spanned<usize>>,
    pub(super) max_held: Option<usize>,
    pub(super) drop_refused: Option<u32>,
    pub(super) max_in_flight: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) out: Vec<Rule>,
    #[serde(default, rename = "in")]
    pub(super) into: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) topic: Spanned<String>,
    pub(super) qos: Option<Spanned<u8>>,
    pub(super) strip: Option<Spanned<String>>,
    pub(super) add: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) retain: Retain,
}
