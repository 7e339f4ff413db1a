//! One line a request in the log, with fields for the journal. Nothing secret, nothing that is signed.

use std::time::{Duration, Instant};

use log::Level;
use tedge_daemon::{OWN_TEXT, cut};
use tedge_p11_config::{Operation, Peer, Recognized};
use tedge_p11_protocol::{SignatureScheme, Uri};

use super::failure::Failure;
use super::log_limit::{Line, LogLimit};
use crate::configuration::Target;

/// What is known of a request by the time it is answered.
pub(crate) struct Record {
    peer: Peer,
    operation: Operation,
    started: Instant,
    key: Option<Named>,
    pub(crate) scheme: Option<SignatureScheme>,
    pub(crate) purpose: Option<Recognized>,
    /// Whether a digest is to be signed, whose purpose nobody can tell.
    pub(crate) is_digest: bool,
}

/// What a request is about.
enum Named {
    /// As the client names it.
    Asked(Uri),
    /// As it is.
    Found(Uri),
}

impl Record {
    pub(crate) fn new(peer: Peer, operation: Operation) -> Self {
        Self::since(Instant::now(), peer, operation)
    }

    /// Of a request that was begun then.
    pub(crate) fn since(started: Instant, peer: Peer, operation: Operation) -> Self {
        Self {
            peer,
            operation,
            started,
            key: None,
            scheme: None,
            purpose: None,
            is_digest: false,
        }
    }

    /// The request is about what the client calls so.
    pub(crate) fn asks_for(&mut self, uri: Uri) {
        self.key = Some(Named::Asked(uri));
    }

    /// The same for `target`, unless more is known.
    pub(super) fn asks_at_least_for(&mut self, target: &Target) {
        if self.key.is_none() {
            self.asks_for(target.uri());
        }
    }

    /// The request is about the key, certificate or token of that URI.
    pub(crate) fn found(&mut self, uri: &Uri) {
        self.key = Some(Named::Found(uri.clone()));
    }

    /// How long the request has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Logs the request with its outcome: refusals, failures and what changes a token at a level that
    /// is noticed, the rest at `info`. `limit` may leave it out, but not if it changed something on a
    /// token, or if the token itself failed to.
    pub(crate) fn log<T>(&self, result: &Result<T, Failure>, limit: &LogLimit) {
        let changes = self.operation.changes();
        let (outcome, level) = match result {
            Err(failure) if failure.is_refusal() => ("refused", Level::Warn),
            Err(_) => ("failed", Level::Warn),
            Ok(_) if changes => ("done", Level::Warn),
            Ok(_) => ("done", Level::Info),
        };
        if level > log::max_level() {
            return;
        }
        let name = self.operation.name();
        let failure = result.as_ref().err();
        let key = self.key.as_ref().map(Named::shown).unwrap_or_default();
        let reason = failure.map(|failure| shortened(&failure.to_string()));
        let reached_token = failure.is_none_or(|failure| failure.code().is_some());
        let line = Line {
            operation: name,
            outcome,
            reason: reason.as_deref(),
            // The key is in the line and in a field.
            len: 2 * key.len() + reason.as_ref().map_or(0, String::len) + OTHER_FIELDS,
        };
        let always = changes && reached_token;
        if !always && !limit.allows(self.peer.account, line) {
            return;
        }
        let text = |value: Option<String>| value.unwrap_or_default();
        let scheme = text(self.scheme.map(|scheme| scheme.to_string()));
        let purpose = text(self.purpose.as_ref().map(|recognized| match recognized {
            Ok(purpose) => purpose.to_string(),
            Err(_) => "none".to_owned(),
        }));
        let purpose = if self.is_digest {
            "digest".to_owned()
        } else {
            purpose
        };
        let code = text(failure.and_then(Failure::code).map(|code| code.to_string()));
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let microseconds = u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX);
        log::log!(
            level,
            OPERATION = name,
            PEER_UID = self.peer.uid,
            PEER_PID = self.peer.pid,
            KEY_URI = key.as_str(),
            PURPOSE = purpose.as_str(),
            SIGNATURE_SCHEME = scheme.as_str(),
            OUTCOME = outcome,
            CKR_CODE = code.as_str(),
            DURATION_USEC = microseconds;
            "{name} for {} {outcome} in {microseconds} us{}{}{}{reason}",
            self.peer,
            prefixed(" key ", &key),
            prefixed(" scheme ", &scheme),
            prefixed(" purpose ", &purpose),
        );
    }
}

impl Named {
    fn shown(&self) -> String {
        match self {
            Self::Asked(uri) => cut(&uri.to_string(), ASKED_URI).into_owned(),
            Self::Found(uri) => cut(&uri.to_string(), OWN_TEXT).into_owned(),
        }
    }
}

/// What went wrong, with each URI or label in it cut that a client may have sent, and the whole of it.
fn shortened(message: &str) -> String {
    let words = message.split(' ').map(|word| cut(word, ASKED_URI));
    let words: Vec<_> = words.collect();
    cut(&words.join(" "), REASON).into_owned()
}

/// Characters of a URI that a client sent: it has been parsed, and that of a real key fits in.
const ASKED_URI: usize = 256;
/// Characters of what went wrong: a URI that was asked for, and some of those that are there instead.
const REASON: usize = 1024;
/// Bytes of a line and its fields that are always about the same.
const OTHER_FIELDS: usize = 200;

fn prefixed(prefix: &str, value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    format!("{prefix}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_is_cut() {
        let long = "x".repeat(2000);
        let text = shortened(&format!(
            "no token matches pkcs11:token={long}; there is none"
        ));
        assert!(
            text.starts_with("no token matches pkcs11:token=xxx"),
            "{text}"
        );
        assert!(text.ends_with("… (2014 bytes) there is none"), "{text}");
        assert!(text.len() < 350, "{text}");
        let words = "word ".repeat(10_000);
        assert!(shortened(&words).len() < 1100);
        let asked = Named::Asked(format!("pkcs11:object={long}").parse().unwrap());
        assert!(asked.shown().len() < 300);
        let found = Named::Found(format!("pkcs11:object={long}").parse().unwrap());
        assert!(found.shown().len() > 500 && found.shown().len() < 600);
    }
}
