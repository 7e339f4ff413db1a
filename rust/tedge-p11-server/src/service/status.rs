//! How the signer is, for systemd and for `tedge-hsm status`. Nothing here calls the module: it works
//! while everything else hangs.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tedge_p11_protocol::{Status, TokenStatus};
use tedge_p11_token::Module;

use super::counters::Counters;
use crate::queue::calls::Calls;

/// What is known of the signer.
pub(super) struct Facts<'a> {
    pub(super) module: &'a Module,
    pub(super) module_path: &'a Path,
    pub(super) counters: &'a Counters,
    pub(super) connections: usize,
    pub(super) started: Instant,
    /// Why the old configuration is in force, if it is.
    pub(super) reload_error: Option<String>,
}

impl Facts<'_> {
    /// One line on how it goes. Every user of the machine may read it, so it has no text of a failure.
    pub(super) fn line(&self) -> String {
        let counters = self.counters;
        let reload = self
            .reload_error
            .as_ref()
            .map_or_else(String::new, |error| {
                format!("the old configuration is in force: {error}; ")
            });
        let last = counters
            .last_error()
            .map_or_else(String::new, |last| format!("; last failure: {}", last.code));
        let tokens = self.module.health();
        let troubled = tokens.iter().filter(|token| token.trouble.is_some());
        format!(
            "{reload}{} tokens in use, {} of them in trouble; {} requests, {} signatures, {} failed, \
             {} refused{last}",
            tokens.len(),
            troubled.count(),
            counters.requests.load(Relaxed),
            counters.signatures.load(Relaxed),
            counters.failed.load(Relaxed),
            counters.refused.load(Relaxed),
        )
    }

    /// The answer to a request for the status; with the texts of failures if it is to be `in_full`.
    pub(super) fn report(self, calls: &Calls, in_full: bool) -> Status {
        let counters = self.counters;
        let (last_error, last_error_age) =
            counters.last_error().map_or((String::new(), 0), |last| {
                let text = if in_full { last.message } else { last.code };
                (text, last.at.elapsed().as_secs())
            });
        let tokens = self.module.health().into_iter().map(|token| TokenStatus {
            uri: token.uri.to_string(),
            trouble: token.trouble.map_or_else(String::new, |error| {
                if in_full {
                    error.to_string()
                } else {
                    error.nameless()
                }
            }),
            pause: milliseconds(token.pause),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed().as_secs(),
            module: self.module_path.display().to_string(),
            tokens: tokens.collect(),
            requests: counters.requests.load(Relaxed),
            signatures: counters.signatures.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            throttled: counters.throttled.load(Relaxed),
            connections: self.connections as u64,
            calls: calls.count() as u64,
            longest_call: milliseconds(calls.longest()),
            latency: counters.latency(),
            last_error,
            last_error_age,
            reload_error: self.reload_error.unwrap_or_default(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
