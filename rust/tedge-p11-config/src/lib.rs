//! What an operator configures: the parts of tedge.toml that concern keys, and the policy, which says
//! who may do what with which key for which purpose.
//!
//! The signer goes by it; tedge-hsm tells from it what the signer would say. Nothing here opens a
//! socket or calls a PKCS#11 module.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod peer;
mod policy;
mod policy_file;
mod policy_text;
mod tedge_toml;
mod user_database;

pub use peer::{Account, Peer};
pub use policy::{Operation, Policy, Purposes, Recognized, Refusal, Rule, Who};
pub use policy_file::{
    BRIDGE_FILE, POLICY_FILE, PolicyError, bridge_path, load as load_policy, policy_path,
    roots_first, shadowed_by,
};
pub use policy_text::{Names, TextError};
pub use tedge_p11_purpose::Purpose;
pub use tedge_toml::{
    Cloud, Connections, Cryptoki, DEFAULT_CERTIFICATE, ProxyTable, TomlError, parse_connections,
    read_certificate_path, read_connections, read_cryptoki, read_key_uris, read_proxy,
};
pub use user_database::{UserEntry, look_up_user};

/// Folder of tedge.toml, and of policy and bridge's configuration where [`ROOT_DIR`] has none, unless told otherwise.
pub const DEFAULT_CONFIG_DIR: &str = "/etc/tedge";
/// Root's own folder, where thin-edge.io's user can take no file away. A policy or bridge's configuration that is here goes
/// before one in [`DEFAULT_CONFIG_DIR`].
pub const ROOT_DIR: &str = "/etc/tedge-hsm";
