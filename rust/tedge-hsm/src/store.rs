//! Where the keys are: behind the signer's socket, or in a module loaded here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tedge_p11_client::{
    Client, DEFAULT_SOCKET_PATH, KeyEntry, KeySpec, Pin, PrivateKey, PublicKey, SignatureScheme,
    SocketKey, TimeLimits, TokenEntry, Uri, hex,
};
use tedge_p11_token::{
    Access, Certificate, CertificateObject, GivenPin, Giver, KeyInfo, KeyObject, KeySelector,
    Module, NewKey, NewToken, PinChange, TokenInfo,
};

use crate::output::or_null;
use crate::place::Place;

/// A place with tokens and keys.
pub(crate) enum Store {
    /// tedge-p11-server.
    Signer(Client),
    /// A module in this process.
    Module(Arc<Module>),
}

/// A token in a listing.
#[derive(Serialize)]
pub(crate) struct Token {
    pub(crate) uri: String,
    #[serde(serialize_with = "or_null")]
    pub(crate) label: String,
    #[serde(serialize_with = "or_null")]
    model: String,
    #[serde(serialize_with = "or_null")]
    manufacturer: String,
    #[serde(serialize_with = "or_null")]
    serial: String,
    pub(crate) slot: u64,
    pub(crate) initialized: bool,
}

/// A key object or a certificate in a listing.
#[derive(Serialize)]
pub(crate) struct Object {
    pub(crate) uri: String,
    /// `private`, `public` or `cert`.
    pub(crate) class: String,
    #[serde(rename = "type")]
    pub(crate) object_type: String,
    #[serde(serialize_with = "or_null")]
    pub(crate) label: String,
    /// `CKA_ID` in hexadecimal.
    #[serde(serialize_with = "or_null")]
    pub(crate) id: String,
}

/// A certificate with its content, unless that can't be read.
pub(crate) struct StoredCertificate {
    pub(crate) uri: String,
    pub(crate) label: String,
    pub(crate) id: String,
    pub(crate) der: Option<Vec<u8>>,
}

impl Store {
    pub(crate) fn open(place: &Place) -> anyhow::Result<Self> {
        Ok(match &place.module_path {
            Some(path) => Self::Module(Arc::new(Module::load(path)?)),
            None => Self::Signer(Client::new(&place.socket_path)),
        })
    }

    /// Where a URI leaves several keys of a module, that of the certificate in `cert` is meant. The signer knows by itself.
    pub(crate) fn prefer_key_of(&self, cert: &Path) {
        if let Self::Module(module) = self {
            module.configure_certificate(Some(cert.to_owned()));
        }
    }

    /// Whether it is a signer at a socket.
    pub(crate) fn is_signer(&self) -> bool {
        matches!(self, Self::Signer(_))
    }

    /// Whether it is the signer that the machine's unit starts.
    pub(crate) fn is_the_machines(&self) -> bool {
        matches!(self, Self::Signer(client) if client.socket_path() == Path::new(DEFAULT_SOCKET_PATH))
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
            Self::Signer(client) => client.tokens()?.into_iter().map(Token::from).collect(),
            Self::Module(module) => module.tokens()?.into_iter().map(Token::from).collect(),
        })
    }

    /// The key objects that `uri` leaves.
    pub(crate) fn keys(&self, uri: Option<&Uri>, pin: Option<&Pin>) -> anyhow::Result<Vec<Object>> {
        Ok(match self {
            Self::Signer(client) => {
                let client = client.clone().explained();
                let keys = client.keys(&given(uri), pin)?.into_iter();
                keys.map(Object::from).collect()
            }
            Self::Module(module) => {
                let keys = module
                    .keys_on_token(&given(uri), Access::to_all(pin))?
                    .into_iter();
                keys.map(Object::from).collect()
            }
        })
    }

    /// Without `pin`, the user PIN is the one that the signer has configured.
    pub(crate) fn init_token(
        &self,
        uri: Option<&Uri>,
        label: &str,
        so_pin: Pin,
        pin: Option<Pin>,
    ) -> anyhow::Result<Uri> {
        Ok(match self {
            Self::Signer(client) => client.clone().explained().init_token(
                &given(uri),
                label,
                Some(&so_pin),
                pin.as_ref(),
            )?,
            Self::Module(module) => {
                let label = label.to_owned();
                let pin = pin.context("a new user PIN is needed to initialise a token")?;
                let pin_by = Giver::Operator;
                let new = NewToken {
                    label,
                    so_pin,
                    pin,
                    pin_by,
                };
                module.init_token(&given(uri), &new, ALLOWED)?
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
    ) -> anyhow::Result<Uri> {
        let uri = given(uri);
        Ok(match self {
            Self::Signer(client) => {
                let client = client.clone().explained();
                client.create_key(&uri, pin, spec, label, id.as_deref())?
            }
            Self::Module(module) => {
                let label = label.to_owned();
                module
                    .create_key(
                        &uri,
                        pin.map(GivenPin::by_operator),
                        &NewKey { spec, label, id },
                        ALLOWED,
                    )?
                    .uri
            }
        })
    }

    /// Returns the URIs of what is gone.
    pub(crate) fn delete_key(&self, uri: &Uri, pin: Option<&Pin>) -> anyhow::Result<Vec<Uri>> {
        Ok(match self {
            Self::Signer(client) => client.clone().explained().delete_key(uri, pin)?,
            Self::Module(module) => module.delete_key(uri, Access::to_all(pin), ALLOWED)?,
        })
    }

    /// By the user, who knows the old PIN.
    pub(crate) fn change_pin(&self, uri: Option<&Uri>, old: &Pin, new: &Pin) -> anyhow::Result<()> {
        match self {
            Self::Signer(client) => client.change_pin(&given(uri), Some(old), new)?,
            Self::Module(module) => {
                let old = GivenPin::by_operator(old);
                module.change_pin(&given(uri), PinChange::User { old }, new, ALLOWED)?;
            }
        }
        Ok(())
    }

    /// The user PIN, by the security officer.
    pub(crate) fn reset_pin(
        &self,
        uri: Option<&Uri>,
        so_pin: &Pin,
        new: &Pin,
    ) -> anyhow::Result<()> {
        match self {
            Self::Signer(client) => client.reset_pin(&given(uri), so_pin, new)?,
            Self::Module(module) => {
                let so_pin = GivenPin::by_operator(so_pin);
                let change = PinChange::SecurityOfficer { so_pin };
                module.change_pin(&given(uri), change, new, ALLOWED)?;
            }
        }
        Ok(())
    }

    pub(crate) fn change_so_pin(
        &self,
        uri: Option<&Uri>,
        old: &Pin,
        new: &Pin,
    ) -> anyhow::Result<()> {
        match self {
            Self::Signer(client) => client.change_so_pin(&given(uri), old, new)?,
            Self::Module(module) => {
                module.change_so_pin(&given(uri), GivenPin::by_operator(old), new, ALLOWED)?;
            }
        }
        Ok(())
    }

    /// The public key that `uri` leaves, of a public key object if there is one.
    pub(crate) fn public_key(
        &self,
        uri: Option<&Uri>,
        pin: Option<&Pin>,
    ) -> anyhow::Result<PublicKey> {
        Ok(match self {
            Self::Signer(client) => match client.public_key(&given(uri)) {
                // The request has no PIN, and there may be a private key only.
                Err(tedge_p11_client::Error::Refused(_)) if pin.is_some() => {
                    let key = SocketKey::open(client.clone(), &given(uri), pin.cloned())?;
                    key.public_key().clone()
                }
                result => result?,
            },
            Self::Module(module) => module.public_key(&selector(uri)?, Access::to_all(pin))?.1,
        })
    }

    /// The certificates that `uri` leaves.
    pub(crate) fn certificates(&self, uri: Option<&Uri>) -> anyhow::Result<Vec<StoredCertificate>> {
        let uri = given(uri);
        Ok(match self {
            Self::Signer(client) => {
                let entries = client.certificates(&uri)?.into_iter();
                entries
                    .map(|entry| StoredCertificate {
                        der: content(client, &entry.uri),
                        uri: entry.uri,
                        label: entry.label,
                        id: entry.id,
                    })
                    .collect()
            }
            Self::Module(module) => {
                let objects = module.certificates_on_token(&uri)?.into_iter();
                objects.map(StoredCertificate::from).collect()
            }
        })
    }

    /// DER of the one certificate that `uri` leaves, which may be the URI of its key.
    pub(crate) fn certificate(&self, uri: Option<&Uri>) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Signer(client) => client.certificate(&given(uri))?.der.0,
            Self::Module(module) => {
                let uri = uri.context("--uri is needed: which certificate of the module?")?;
                module.certificate(uri)?.der
            }
        })
    }

    /// Puts a certificate beside its key and returns the certificate's URI.
    pub(crate) fn import_certificate(
        &self,
        uri: Option<&Uri>,
        pin: Option<&Pin>,
        der: &[u8],
    ) -> anyhow::Result<Uri> {
        Ok(match self {
            Self::Signer(client) => client.import_certificate(&given(uri), pin, der)?,
            Self::Module(module) => {
                let certificate = Certificate::from_der(der)?;
                let key = selector(uri)?;
                module.import_certificate(&key, Access::to_all(pin), &certificate, ALLOWED)?
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
            Self::Signer(client) => Arc::new(SocketKey::open(client.clone(), &given(uri), pin)?),
            Self::Module(module) => {
                let selector = selector(uri)?;
                let info = module.key_info(&selector, Access::to_all(pin.as_ref()))?;
                Arc::new(ModuleKey {
                    module: module.clone(),
                    selector,
                    pin,
                    info,
                })
            }
        })
    }
}

impl From<TokenEntry> for Token {
    fn from(token: TokenEntry) -> Self {
        Self {
            uri: token.uri,
            label: token.label,
            model: token.model,
            manufacturer: token.manufacturer,
            serial: token.serial,
            slot: token.slot,
            initialized: token.initialized,
        }
    }
}

impl From<TokenInfo> for Token {
    fn from(token: TokenInfo) -> Self {
        Self {
            uri: token.uri.to_string(),
            label: token.label,
            model: token.model,
            manufacturer: token.manufacturer,
            serial: token.serial,
            slot: token.slot,
            initialized: token.initialized,
        }
    }
}

impl From<KeyEntry> for Object {
    fn from(key: KeyEntry) -> Self {
        Self {
            uri: key.uri,
            class: key.class,
            object_type: key.key_type,
            label: key.label,
            id: key.id,
        }
    }
}

impl From<KeyObject> for Object {
    fn from(key: KeyObject) -> Self {
        Self {
            uri: key.uri.to_string(),
            class: key.object_type.name().to_owned(),
            object_type: key.key_type,
            label: key.label,
            id: hex(&key.id),
        }
    }
}

impl From<CertificateObject> for StoredCertificate {
    fn from(certificate: CertificateObject) -> Self {
        Self {
            uri: certificate.uri.to_string(),
            label: certificate.label,
            id: hex(&certificate.id),
            der: Some(certificate.der),
        }
    }
}

/// A private key of a module in this process.
#[derive(Debug)]
struct ModuleKey {
    module: Arc<Module>,
    selector: KeySelector,
    pin: Option<Pin>,
    info: KeyInfo,
}

impl PrivateKey for ModuleKey {
    fn uri(&self) -> &Uri {
        &self.info.uri
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
                Access::to_all(self.pin.as_ref()),
                Some(scheme),
                message,
                &mut |_, _, _| Ok(()),
            )
            .map_err(|error| tedge_p11_client::Error::Refused(error.to_string()))
    }
}

/// Who runs this program on a module may do with it what he can.
const ALLOWED: tedge_p11_token::Check<'static> = &|_| Ok(());

fn selector(uri: Option<&Uri>) -> anyhow::Result<KeySelector> {
    let uri = uri.context("--uri is needed: which key of the module?")?;
    Ok(KeySelector::Uri(uri.clone()))
}

/// The certificate at `uri`, if it can be read.
fn content(client: &Client, uri: &str) -> Option<Vec<u8>> {
    let certificate = client.certificate(&uri.parse().ok()?).ok()?;
    Some(certificate.der.0)
}

fn given(uri: Option<&Uri>) -> Uri {
    uri.cloned().unwrap_or_default()
}
