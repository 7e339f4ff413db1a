//! Where the keys are: behind the signer's socket, or in a module loaded here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tedge_p11_client::{
    Client, KeySpec, Pin, PrivateKey, PublicKey, SignatureScheme, SocketKey, TimeLimits, Uri,
};
use tedge_p11_token::{KeyInfo, KeySelector, Module, NewKey, NewToken};

use crate::args::Place;

/// A place with tokens and keys.
pub(crate) enum Store {
    /// tedge-p11-server.
    Signer(Client),
    /// A module in this process.
    Module(Arc<Module>),
}

/// A token in a listing.
pub(crate) struct Token {
    pub(crate) slot: u64,
    pub(crate) label: String,
    pub(crate) initialized: bool,
    pub(crate) uri: String,
}

/// A key object in a listing.
pub(crate) struct Key {
    pub(crate) class: String,
    pub(crate) key_type: String,
    pub(crate) label: String,
    pub(crate) uri: String,
}

impl Store {
    pub(crate) fn open(place: &Place) -> anyhow::Result<Self> {
        Ok(match &place.module_path {
            Some(path) => Self::Module(Arc::new(Module::load(path)?)),
            None => Self::Signer(Client::new(&place.socket_path)),
        })
    }

    /// The same store with another limit on the time that the signer may take.
    pub(crate) fn with_limit(self, limit: Duration) -> Self {
        match self {
            Self::Signer(client) => Self::Signer(client.with_limits(TimeLimits {
                connect: limit,
                read: limit,
                write: limit,
            })),
            Self::Module(_) => self,
        }
    }

    pub(crate) fn tokens(&self) -> anyhow::Result<Vec<Token>> {
        Ok(match self {
            Self::Signer(client) => client
                .tokens()?
                .into_iter()
                .map(|token| Token {
                    slot: token.slot,
                    label: token.label,
                    initialized: token.initialized,
                    uri: token.uri,
                })
                .collect(),
            Self::Module(module) => module
                .tokens()?
                .into_iter()
                .map(|token| Token {
                    slot: token.slot,
                    label: token.label,
                    initialized: token.initialized,
                    uri: token.uri.to_string(),
                })
                .collect(),
        })
    }

    pub(crate) fn keys(&self, uri: Option<&Uri>, pin: Option<&Pin>) -> anyhow::Result<Vec<Key>> {
        Ok(match self {
            Self::Signer(client) => client
                .keys(text(uri).as_deref(), pin)?
                .into_iter()
                .map(|key| Key {
                    class: key.class,
                    key_type: key.key_type,
                    label: key.label,
                    uri: key.uri,
                })
                .collect(),
            Self::Module(module) => module
                .keys_on_token(&uri.cloned().unwrap_or_default(), pin)?
                .into_iter()
                .map(|key| Key {
                    class: key.object_type.name().to_owned(),
                    key_type: key.key_type,
                    label: key.label,
                    uri: key.uri.to_string(),
                })
                .collect(),
        })
    }

    pub(crate) fn init_token(
        &self,
        uri: Option<&Uri>,
        label: &str,
        so_pin: Pin,
        pin: Pin,
    ) -> anyhow::Result<String> {
        Ok(match self {
            Self::Signer(client) => {
                client.init_token(text(uri).as_deref(), label, Some(&so_pin), Some(&pin))?
            }
            Self::Module(module) => {
                let label = label.to_owned();
                let new = NewToken { label, so_pin, pin };
                let uri =
                    module.init_token(&uri.cloned().unwrap_or_default(), &new, &|_| Ok(()))?;
                uri.to_string()
            }
        })
    }

    pub(crate) fn create_key(
        &self,
        uri: Option<&Uri>,
        pin: Option<&Pin>,
        spec: KeySpec,
        label: &str,
        id: Option<Vec<u8>>,
    ) -> anyhow::Result<String> {
        let uri = uri.cloned().unwrap_or_default();
        Ok(match self {
            Self::Signer(client) => {
                client.create_key(&uri.to_string(), pin, spec, label, id.as_deref())?
            }
            Self::Module(module) => {
                let label = label.to_owned();
                let key = module.create_key(&uri, pin, &NewKey { spec, label, id }, &|_| Ok(()))?;
                key.uri.to_string()
            }
        })
    }

    /// The private key that `uri` leaves.
    pub(crate) fn private_key(
        &self,
        uri: Option<&Uri>,
        pin: Option<Pin>,
    ) -> anyhow::Result<Arc<dyn PrivateKey>> {
        Ok(match self {
            Self::Signer(client) => Arc::new(SocketKey::open(client.clone(), text(uri), pin)?),
            Self::Module(module) => {
                let uri = uri.context("--uri is needed: which key of the module?")?;
                let selector = KeySelector::Uri(uri.clone());
                let info = module.key_info(&selector, pin.as_ref())?;
                Arc::new(ModuleKey {
                    module: module.clone(),
                    selector,
                    pin,
                    uri: info.uri.to_string(),
                    info,
                })
            }
        })
    }
}

/// A private key of a module in this process.
#[derive(Debug)]
struct ModuleKey {
    module: Arc<Module>,
    selector: KeySelector,
    pin: Option<Pin>,
    uri: String,
    info: KeyInfo,
}

impl PrivateKey for ModuleKey {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn public_key(&self) -> &PublicKey {
        &self.info.public_key
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &self.info.schemes
    }

    fn sign(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, tedge_p11_client::Error> {
        self.module
            .sign(
                &self.selector,
                self.pin.as_ref(),
                Some(scheme),
                message,
                &|_, _, _| Ok(()),
            )
            .map_err(|error| tedge_p11_client::Error::Refused(error.to_string()))
    }
}

fn text(uri: Option<&Uri>) -> Option<String> {
    uri.map(ToString::to_string)
}
