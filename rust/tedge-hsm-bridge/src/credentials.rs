//! The key and the certificate while the cloud's connection stands: whether the next one could be made with them.

use tokio::task::{JoinHandle, spawn_blocking};

use crate::error::ConnectError;
use crate::identity::{self, Identity};
use crate::profile::{Profile, Tls};
use crate::tls;

/// What is known of the key and the certificate of one profile.
pub(crate) struct Credentials {
    /// For the log.
    name: String,
    tls: Tls,
    /// Why the key could not be used, if it could not.
    hsm: Option<String>,
    /// What is beside the certificate.
    identity: Identity,
    /// What the cloud's connection was made with.
    certificate: Option<Vec<u8>>,
    /// What is wrong with the certificate, as it was told.
    complaint: Option<String>,
    /// A look at both that is under way, on a thread of its own: the signer may take its time.
    look: Option<JoinHandle<Result<(), ConnectError>>>,
}

impl Credentials {
    pub(crate) fn new(profile: &Profile) -> Self {
        Self {
            name: profile.name.clone(),
            tls: profile.tls.clone(),
            hsm: None,
            identity: identity::look(&profile.tls.cert),
            certificate: None,
            complaint: None,
            look: None,
        }
    }

    /// Why the key could not be used when that was tried last.
    pub(crate) fn hsm(&self) -> Option<&String> {
        self.hsm.as_ref()
    }

    /// The certificate's end, and what was written down beside it, when that was looked at last.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The cloud's connection was made with `certificate`, so the key could be used.
    pub(crate) fn connected(&mut self, certificate: Option<Vec<u8>>) {
        self.hsm = None;
        self.certificate = certificate;
        self.identity = identity::look(&self.tls.cert);
    }

    /// The cloud's connection could not be made.
    pub(crate) fn failed(&mut self, error: ConnectError) {
        match error {
            ConnectError::Key(reason) => self.hsm = Some(reason),
            // It had come as far as the network: the signer had told of the key.
            ConnectError::Socket(..)
            | ConnectError::ToProxy(..)
            | ConnectError::Proxy(..)
            | ConnectError::Tls(_)
            | ConnectError::Refused(_) => {
                self.hsm = None;
            }
            _ => {}
        }
    }

    pub(crate) fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Starts a look at the key and the certificate.
    pub(crate) fn look(&mut self) {
        let tls = self.tls.clone();
        self.look = Some(spawn_blocking(move || tls::check(&tls)));
    }

    /// Waits for the end of the look, for ever if there is none. Returns whether the certificate is another one
    /// than that of the cloud's connection.
    pub(crate) async fn looked(&mut self) -> bool {
        let Some(look) = &mut self.look else {
            return std::future::pending().await;
        };
        let result = look
            .await
            .unwrap_or_else(|error| Err(ConnectError::Key(error.to_string())));
        self.look = None;
        self.judge(result)
    }

    fn judge(&mut self, result: Result<(), ConnectError>) -> bool {
        self.identity = identity::look(&self.tls.cert);
        if let Err(ConnectError::Key(reason)) = result {
            if self.hsm.is_none() {
                log::warn!("{}: the HSM cannot be used: {reason}", self.name);
            }
            self.hsm = Some(reason);
            return false;
        }
        if self.hsm.take().is_some() {
            log::info!("{}: the HSM can be used again", self.name);
        }
        let complaint = result.err().map(|error| error.to_string());
        if let Some(complaint) = &complaint {
            // It shows when it is needed; until then the old one is as good as it was.
            if self.complaint.as_ref() != Some(complaint) {
                log::warn!("{}: {complaint}", self.name);
            }
        }
        self.complaint = complaint;
        if self.complaint.is_some() {
            return false;
        }
        let now = tedge_file::read(&self.tls.cert, tedge_file::MAX_CERTIFICATES).ok();
        now.is_some() && now != self.certificate
    }
}
