//! A private key in a module that this process loaded itself.

use std::path::Path;

use support::hsm::PIN;
use tedge_p11_client::{Error, PrivateKey};
use tedge_p11_protocol::{Pin, PublicKey, SignatureScheme, Uri};
use tedge_p11_token::{Access, KeyInfo, KeySelector, Module};

#[derive(Debug)]
pub struct ModuleKey {
    module: Module,
    pin: Pin,
    key: KeySelector,
    info: KeyInfo,
}

impl ModuleKey {
    pub fn open(module: &Path, uri: &str) -> anyhow::Result<Self> {
        let module = Module::load(module)?;
        let pin = Pin::new(PIN.to_owned())?;
        let key = KeySelector::Uri(uri.parse::<Uri>()?);
        let info = module.key_info(&key, Access::to_all(Some(&pin)))?;
        Ok(Self {
            module,
            pin,
            key,
            info,
        })
    }
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

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        let (key, access) = (&self.key, Access::to_all(Some(&self.pin)));
        self.module
            .sign(key, access, Some(scheme), message, &mut |_, _, _| Ok(()))
            .map_err(|error| Error::Refused(error.to_string()))
    }
}
