//! The certificate that opens the door before the device has one of its own: a manufacturer's, or a claim certificate,
//! with its key in a file or in the token.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tedge_p11_client::{ClientCertResolver, PrivateKey, TlsKey, Uri, read_certificates};
use zeroize::Zeroizing;

use crate::keys::Keys;
use crate::uri_parser::UriParser;

/// Where the certificate and its key are.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "The certificate that it logs in with")]
#[group(id = "bootstrap")]
pub(crate) struct Args {
    /// Log in with the certificate in this PEM or DER file, such as the manufacturer's
    #[arg(long, value_name = "FILE")]
    bootstrap_cert: Option<PathBuf>,

    /// PEM file with the bootstrap certificate's key, which nobody else may read
    #[arg(long, value_name = "FILE", requires = "bootstrap_cert")]
    bootstrap_key: Option<PathBuf>,

    /// URI of the bootstrap certificate's key in the token; the certificate beside it is taken where there is no
    /// --bootstrap-cert
    #[arg(long, value_name = "URI", value_parser = UriParser, conflicts_with = "bootstrap_key")]
    bootstrap_uri: Option<Uri>,
}

impl Args {
    #[allow(dead_code)] // for the clouds to come
    /// Whether there is one.
    pub(crate) fn is_given(&self) -> bool {
        self.bootstrap_cert.is_some() || self.bootstrap_uri.is_some()
    }

    /// What logs in with it, if it was given. Without a key of its own it is for `device_key`.
    pub(crate) fn resolver(
        &self,
        keys: Keys<'_>,
        device_key: &Arc<dyn PrivateKey>,
    ) -> anyhow::Result<Option<Arc<dyn ResolvesClientCert>>> {
        let resolver: Arc<dyn ResolvesClientCert> = match self {
            Self {
                bootstrap_cert: Some(cert),
                bootstrap_key: Some(key),
                ..
            } => {
                let chain = read_certificates(cert)?;
                let certified = certified_key(chain, key)
                    .with_context(|| format!("--bootstrap-key {}", key.display()))?;
                Arc::new(SingleCertAndKey::from(certified))
            }
            Self {
                bootstrap_cert: Some(cert),
                bootstrap_uri,
                ..
            } => {
                let key = match bootstrap_uri {
                    Some(uri) => keys.find(Some(uri)).context("--bootstrap-uri")?,
                    None => device_key.clone(),
                };
                Arc::new(ClientCertResolver::new(key, cert)?)
            }
            Self {
                bootstrap_uri: Some(uri),
                ..
            } => {
                let key = keys.find(Some(uri)).context("--bootstrap-uri")?;
                let beside = keys.store.certificate(Some(key.uri()));
                let der =
                    beside.context("there is no certificate beside the key of --bootstrap-uri")?;
                let chain = vec![CertificateDer::from(der)];
                let certified = CertifiedKey::new(chain, Arc::new(TlsKey::new(key)));
                Arc::new(SingleCertAndKey::from(certified))
            }
            _ => return Ok(None),
        };
        Ok(Some(resolver))
    }
}

fn certified_key(chain: Vec<CertificateDer<'static>>, path: &Path) -> anyhow::Result<CertifiedKey> {
    let text = tedge_file::read_private_text(path, MAX_KEY).map(Zeroizing::new)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| anyhow!("it holds no private key in PEM that is not encrypted"))?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| anyhow!("this kind of key is not known"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(anyhow!(
            "it is not the key of the certificate in --bootstrap-cert"
        )),
        // TLS takes those of version 3 (RFC 8446, section 4.4.2.2).
        Err(error) => Err(anyhow!(
            "the certificate in --bootstrap-cert can't be used: {error}; it must be of X.509 version 3"
        )),
    }
}

/// Bytes of a key file: RSA with 16,384 bits has 13 KB.
const MAX_KEY: usize = 65_536;
