//! What the operator configured, and what a request speaks of within that.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tedge_p11_config::Policy;
use tedge_p11_protocol::{Pin, PinSource, Uri, UriError};
use tedge_p11_token::{Access, Caller, GivenPin, Giver, KeySelector, Permit};

/// What the operator configured, as far as it can change while the signer runs.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// Confines every request.
    uri: Option<Uri>,
    /// Serves the requests that bring none.
    pin: Option<Pin>,
    policy: Policy,
    /// The file with the certificate that tells which of several keys is meant.
    certificate: Option<PathBuf>,
    /// The URIs of earlier requests, as they were sent, with what they mean here: parsing one takes
    /// longer than everything else on the way of a request. None of them has a PIN.
    named: Mutex<HashMap<String, Arc<Named>>>,
}

/// What a request's URI means.
#[derive(Debug)]
pub(crate) struct Named {
    /// Confined to the configured one.
    pub(crate) key: KeySelector,
    /// Its part that names a token.
    pub(crate) token: Uri,
    /// As far as the URI tells.
    lane: Arc<str>,
    /// That of the token, once it is known which one the URI means.
    lane_of_token: OnceLock<Arc<str>>,
}

impl Named {
    /// Requests for the same token wait in the same lane, also where their URIs name it in different ways: once the
    /// token is among `used` ones, of which the URI must leave one.
    pub(crate) fn lane(&self, used: impl FnOnce() -> Vec<Uri>) -> Arc<str> {
        if self.token.token.is_some() {
            return self.lane.clone();
        }
        if let Some(lane) = self.lane_of_token.get() {
            return lane.clone();
        }
        let mut meant = used().into_iter().filter(|used| self.token.covers(used));
        match (meant.next(), meant.next()) {
            (Some(token), None) => self
                .lane_of_token
                .get_or_init(|| lane(&token).into())
                .clone(),
            _ => self.lane.clone(),
        }
    }
}

/// What a request speaks of.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) named: Arc<Named>,
    /// From the request, else from its URI, else from the configuration.
    pub(crate) pin: Option<Pin>,
    /// Whether it came with the request.
    pin_was_sent: bool,
}

/// Why a request speaks of nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("a PKCS#11 URI of more than {MAX_URI_LEN} bytes")]
    TooLong,
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error("pin-source is not taken from clients; send the PIN itself")]
    PinSource,
}

impl Configuration {
    pub(crate) fn new(uri: Option<Uri>, pin: Option<Pin>, policy: Policy) -> Self {
        Self {
            uri,
            pin,
            policy,
            certificate: None,
            named: Mutex::default(),
        }
    }

    /// The same with the device's certificate in the file `path`.
    pub(crate) fn with_certificate(self, path: PathBuf) -> Self {
        Self {
            certificate: Some(path),
            ..self
        }
    }

    /// The same with another PIN.
    pub(crate) fn with_pin(&self, pin: Pin) -> Self {
        Self {
            certificate: self.certificate.clone(),
            ..Self::new(self.uri.clone(), Some(pin), self.policy.clone())
        }
    }

    pub(crate) fn certificate(&self) -> Option<PathBuf> {
        self.certificate.clone()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// What names the token that the PIN is for; nothing if clients are confined to none.
    pub(crate) fn token(&self) -> Uri {
        self.uri.as_ref().map(Uri::token_part).unwrap_or_default()
    }

    /// The label of the token that clients are confined to.
    pub(crate) fn only_token(&self) -> Option<&str> {
        self.uri.as_ref()?.token.as_deref()
    }

    /// Whether clients are confined to one token, named by its label or serial number, and `token` is it.
    pub(crate) fn names_token(&self, token: &Uri) -> bool {
        self.uri.as_ref().is_some_and(|uri| {
            (uri.token.is_some() || uri.serial.is_some()) && uri.token_part().covers(token)
        })
    }

    /// What a request with this URI and PIN speaks of, or what is wrong with the URI.
    pub(crate) fn target(
        &self,
        uri: Option<&str>,
        pin: Option<Pin>,
    ) -> Result<Target, TargetError> {
        // An empty one counts as none.
        let text = uri.unwrap_or_default();
        let known = self.lock().get(text).cloned();
        if let Some(named) = known {
            return Ok(self.target_with(named, pin));
        }
        if text.len() > MAX_URI_LEN {
            return Err(TargetError::TooLong);
        }
        let mut uri = match text {
            "" => None,
            text => Some(text.parse::<Uri>()?),
        };
        let uri_pin = match uri.as_mut().and_then(|uri| uri.pin.take()) {
            Some(PinSource::Value(pin)) => Some(pin),
            // The file would be read with the signer's rights, not with the client's.
            Some(PinSource::File(_)) => return Err(TargetError::PinSource),
            None => None,
        };
        let named = Arc::new(self.confine(uri));
        // What follows a question mark may be a PIN, which must not be kept.
        if !text.contains('?') {
            let mut kept = self.lock();
            // Clients choose the URIs: what they can fill is bounded.
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(text.to_owned(), named.clone());
        }
        Ok(self.target_with(named, pin.or(uri_pin)))
    }

    fn target_with(&self, named: Arc<Named>, sent: Option<Pin>) -> Target {
        let pin_was_sent = sent.is_some();
        Target {
            named,
            pin: sent.or_else(|| self.pin.clone()),
            pin_was_sent,
        }
    }

    fn confine(&self, uri: Option<Uri>) -> Named {
        let uri = match (uri, &self.uri) {
            (Some(uri), Some(configured)) => Some(uri.confined_to(configured)),
            (uri, configured) => uri.or_else(|| configured.clone()),
        };
        let token = uri.as_ref().map(Uri::token_part).unwrap_or_default();
        Named {
            lane: lane(&token).into(),
            lane_of_token: OnceLock::new(),
            token,
            key: uri.map_or(KeySelector::First, KeySelector::Uri),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Named>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    pub(crate) fn key(&self) -> &KeySelector {
        &self.named.key
    }

    pub(crate) fn token(&self) -> &Uri {
        &self.named.token
    }

    /// Its PIN, and whose guess it is: of `caller`, if it came with the request.
    pub(crate) fn pin(&self, caller: Caller) -> Option<GivenPin<'_>> {
        let by = if self.pin_was_sent {
            Giver::Caller(caller)
        } else {
            Giver::Operator
        };
        self.pin.as_ref().map(|pin| GivenPin { pin, by })
    }

    /// Its PIN, where `permit` has nothing against it.
    pub(crate) fn access<'a>(&'a self, caller: Caller, permit: &'a dyn Permit) -> Access<'a> {
        Access {
            pin: self.pin(caller),
            permit,
        }
    }

    /// The URI that was meant; the empty one if none was sent or configured.
    pub(crate) fn uri(&self) -> Uri {
        match &self.named.key {
            KeySelector::Uri(uri) => uri.clone(),
            KeySelector::First => Uri::default(),
        }
    }
}

/// By what names the token, however the URI is written: of several attributes, a client could leave out
/// or add some, and have lanes of its own. Blanks at the end of a label are padding.
fn lane(token: &Uri) -> String {
    match (&token.token, &token.serial) {
        (Some(label), _) => format!("token={}", label.trim_end_matches(['\0', ' '])),
        (None, Some(serial)) => format!("serial={}", serial.trim_end_matches(['\0', ' '])),
        (None, None) => String::new(),
    }
}

/// Longer than any that means something; errors repeat URIs.
const MAX_URI_LEN: usize = 2048;
const MAX_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(uri: &str) -> Configuration {
        let pin = Pin::new("configured".into()).ok();
        Configuration::new(Some(uri.parse().unwrap()), pin, Policy::without_file(None))
    }

    #[test]
    fn requests_are_confined_and_share_lanes() {
        let configuration = configuration("pkcs11:token=ours");
        let lane = |uri: Option<&str>| {
            configuration
                .target(uri, None)
                .unwrap()
                .named
                .lane(Vec::new)
                .to_string()
        };
        assert_eq!(lane(None), "token=ours");
        for _ in 0..2 {
            assert_eq!(lane(Some("pkcs11:token=theirs;object=x")), "token=ours");
            assert_eq!(lane(Some("pkcs11:serial=1;model=m")), "token=ours");
        }
        let target = configuration.target(Some("pkcs11:object=x"), None).unwrap();
        assert_eq!(target.uri().to_string(), "pkcs11:token=ours;object=x");
    }

    #[test]
    fn a_token_has_one_lane_however_it_is_written() {
        let configuration = Configuration::new(None, None, Policy::without_file(None));
        let lane = |uri: &str| {
            configuration
                .target(Some(uri), None)
                .unwrap()
                .named
                .lane(Vec::new)
                .to_string()
        };
        for uri in [
            "pkcs11:token=our%20token",
            "pkcs11:token=our%20token;object=x",
            "PKCS11:object=y;token=%6Fur%20token%20;model=m;serial=1",
            "pkcs11:token=our%20token;library-version=2.40;slot-id=7",
        ] {
            assert_eq!(lane(uri), "token=our token", "{uri}");
        }
        for uri in ["pkcs11:serial=1;model=m", "pkcs11:serial=%31;object=x"] {
            assert_eq!(lane(uri), "serial=1", "{uri}");
        }
        for uri in ["pkcs11:", "pkcs11:object=x", "pkcs11:slot-id=1;model=m"] {
            assert_eq!(lane(uri), "", "{uri}");
        }
    }

    #[test]
    fn a_token_that_is_known_has_one_lane_by_all_its_names() {
        let used = || {
            ["our%20token;serial=1;slot-id=7", "other;serial=2;slot-id=8"]
                .map(|token| format!("pkcs11:token={token}").parse().unwrap())
                .to_vec()
        };
        let configuration = Configuration::new(None, None, Policy::without_file(None));
        let lane = |uri: &str| {
            let target = configuration.target(Some(uri), None).unwrap();
            target.named.lane(used).to_string()
        };
        for uri in [
            "pkcs11:token=our%20token",
            "pkcs11:serial=1",
            "pkcs11:serial=%31;object=x",
            "pkcs11:slot-id=7",
        ] {
            assert_eq!(lane(uri), "token=our token", "{uri}");
        }
        // It leaves both.
        assert_eq!(lane("pkcs11:object=x"), "");
    }

    #[test]
    fn the_pin_of_the_request_comes_first_and_is_not_kept() {
        let configuration = configuration("pkcs11:token=ours");
        let pin = |uri: &str, sent: Option<&str>| {
            let sent = sent.map(|pin| Pin::new(pin.into()).unwrap());
            let target = configuration.target(Some(uri), sent).unwrap();
            target.pin.unwrap().expose().to_owned()
        };
        for _ in 0..2 {
            assert_eq!(pin("pkcs11:object=x", None), "configured");
            assert_eq!(pin("pkcs11:object=x", Some("sent")), "sent");
            assert_eq!(pin("pkcs11:object=x?pin-value=uri", None), "uri");
        }
        assert_eq!(configuration.lock().len(), 1);
    }
}
