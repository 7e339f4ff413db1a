//! The types of keys, as options name them.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tedge_p11_client::KeySpec;

/// Type and size of a key.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyType {
    P256,
    P384,
    P521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Ed25519,
    #[serde(rename = "ml-dsa-44")]
    #[value(name = "ml-dsa-44")]
    MlDsa44,
    #[serde(rename = "ml-dsa-65")]
    #[value(name = "ml-dsa-65")]
    MlDsa65,
    #[serde(rename = "ml-dsa-87")]
    #[value(name = "ml-dsa-87")]
    MlDsa87,
}

impl KeyType {
    /// A TPM looks for the primes of an RSA key for up to a minute.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl From<KeySpec> for KeyType {
    fn from(spec: KeySpec) -> Self {
        match spec {
            KeySpec::EcP256 => Self::P256,
            KeySpec::EcP384 => Self::P384,
            KeySpec::EcP521 => Self::P521,
            KeySpec::Rsa2048 => Self::Rsa2048,
            KeySpec::Rsa3072 => Self::Rsa3072,
            KeySpec::Rsa4096 => Self::Rsa4096,
            KeySpec::Ed25519 => Self::Ed25519,
            KeySpec::MlDsa44 => Self::MlDsa44,
            KeySpec::MlDsa65 => Self::MlDsa65,
            KeySpec::MlDsa87 => Self::MlDsa87,
        }
    }
}

impl From<KeyType> for KeySpec {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::P256 => Self::EcP256,
            KeyType::P384 => Self::EcP384,
            KeyType::P521 => Self::EcP521,
            KeyType::Rsa2048 => Self::Rsa2048,
            KeyType::Rsa3072 => Self::Rsa3072,
            KeyType::Rsa4096 => Self::Rsa4096,
            KeyType::Ed25519 => Self::Ed25519,
            KeyType::MlDsa44 => Self::MlDsa44,
            KeyType::MlDsa65 => Self::MlDsa65,
            KeyType::MlDsa87 => Self::MlDsa87,
        }
    }
}
