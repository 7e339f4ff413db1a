//! The request for a certificate, or the certificate that the key issues for itself.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use tedge_p11_client::PrivateKey;
use tedge_p11_config::{DEFAULT_CONFIG_DIR, read_certificate_path};
use x509_cert::der::{DecodePem as _, Encode as _};
use x509_cert::request::CertReq;

use super::context::Setup;
use super::files;
use super::key;
use super::settings;
use super::state_folder::{self, StateFolder};
use super::step::{State, Step};
use crate::certificate::read_chain;
use crate::document;
use crate::names;

pub(super) struct Certificate;

impl Step for Certificate {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn aim(&self, setup: &Setup) -> String {
        let what = match setup.wanted.settings.certificate {
            settings::Certificate::Csr => "request",
            settings::Certificate::SelfSigned => "self-signed certificate",
        };
        format!("write a {what} to {}", path(setup).display())
    }

    fn asks_the_signer(&self) -> bool {
        true
    }

    /// That what is there has the name that was asked for, if one was.
    fn check(&self, setup: &Setup) -> anyhow::Result<()> {
        let path = path(setup);
        let Some(text) = files::text(&path)? else {
            return Ok(());
        };
        let subject = match setup.wanted.settings.certificate {
            settings::Certificate::Csr => {
                CertReq::from_pem(&text).map(|request| request.info.subject)
            }
            settings::Certificate::SelfSigned => x509_cert::Certificate::from_pem(&text)
                .map(|certificate| certificate.tbs_certificate.subject),
        };
        let Ok(there) = subject else {
            bail!(
                "{} has something else in it; remove it, or give another --output",
                path.display()
            );
        };
        let wanted = setup.names()?.subject;
        if setup.is_named() && there != wanted {
            bail!(
                "{} is for {}, not {}: remove it to have a new one made, or give another --output",
                path.display(),
                names::subject(&there),
                names::subject(&wanted)
            );
        }
        Ok(())
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        let path = path(setup);
        let Some(text) = files::text(&path)? else {
            return Ok(State::ToDo(self.aim(setup)));
        };
        let store = setup.store()?;
        let key = store.public_key(Some(&key::existing(setup)?), None)?;
        let own = match setup.wanted.settings.certificate {
            settings::Certificate::Csr => {
                CertReq::from_pem(&text).map(|request| request.info.public_key.to_der())
            }
            settings::Certificate::SelfSigned => x509_cert::Certificate::from_pem(&text)
                .map(|certificate| certificate.tbs_certificate.subject_public_key_info.to_der()),
        };
        match own {
            Ok(Ok(spki)) if spki == key.spki() => Ok(State::Done(path.display().to_string())),
            // Of a key that is no more.
            Ok(_) => Ok(State::ToDo(format!(
                "{}, which is for another key now",
                self.aim(setup)
            ))),
            Err(_) => bail!(
                "{} has something else in it; remove it, or give another --output",
                path.display()
            ),
        }
    }

    fn run(&self, setup: &Setup, _: Option<&StateFolder>) -> anyhow::Result<String> {
        let path = path(setup);
        let uri = key::existing(setup)?;
        let key = setup.store()?.private_key(Some(&uri), None)?;
        let text = match setup.wanted.settings.certificate {
            settings::Certificate::Csr => document::request(key.as_ref(), setup.names()?)?,
            settings::Certificate::SelfSigned => {
                document::self_signed(key.as_ref(), setup.names()?, VALIDITY, false)?
            }
        };
        files::replace(&path, text.as_bytes(), 0o644)?;
        let path = path.display();
        Ok(match of_another_key(setup, key.as_ref()) {
            None => path.to_string(),
            Some(installed) => format!(
                "{path}; {} is for another key, as after a factory reset: this device needs a new certificate",
                installed.display()
            ),
        })
    }
}

/// The certificate that is installed, if the device had another key when it got it.
fn of_another_key(setup: &Setup, key: &dyn PrivateKey) -> Option<PathBuf> {
    let path = read_certificate_path(&setup.root.path(DEFAULT_CONFIG_DIR)).ok()?;
    let installed = read_chain(&setup.root.path(&path)).ok()?.swap_remove(0);
    installed.check_key(key).is_err().then_some(path)
}

fn path(setup: &Setup) -> PathBuf {
    let name = match setup.wanted.settings.certificate {
        settings::Certificate::Csr => "device.csr",
        settings::Certificate::SelfSigned => "device.pem",
    };
    let output = setup.wanted.output.clone();
    output.unwrap_or_else(|| state_folder::path(setup).join(name))
}

/// As `self-signed` has it by default.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
