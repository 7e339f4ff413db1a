//! From a request to calls on the module, and back to a response, within policy and configuration.

mod certificates;
mod counters;
mod failure;
mod handler;
mod keys;
mod log_limit;
mod objects;
mod record;
mod request;
mod rights;
mod status;
mod time_limit;
mod tokens;

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tedge_daemon::cut;
use tedge_p11_config::{Account, Operation, Peer, Policy};
use tedge_p11_protocol::{ExtensionResponse, Pin, Request, Response};
use tedge_p11_token::Module;

use self::counters::Counters;
use self::failure::Failure;
use self::handler::handle;
use self::log_limit::{Line, LogLimit};
use self::record::Record;
use self::request::{Immediate, Sorted};
use self::rights::Rights;
use self::status::Facts;
use crate::configuration::Configuration;
use crate::queue::calls::Calls;
use crate::queue::lanes::{Full, Queued, WAITING_BYTES};
use crate::queue::limits::{Limits, Place, Standing};

pub(crate) use self::request::Call;
pub(crate) use self::time_limit::time_limit;

/// Answers requests with the keys of one module, within what the operator configured.
#[derive(Debug)]
pub(crate) struct Service {
    module: Module,
    module_path: PathBuf,
    configuration: RwLock<Arc<Configuration>>,
    /// Why the last attempt to read the configuration again failed, if it did.
    reload_error: Mutex<Option<String>>,
    counters: Counters,
    log_limit: LogLimit,
    limits: Limits,
    started: Instant,
}

impl Service {
    /// `module_path` is where the module was loaded from.
    pub(crate) fn new(module: Module, module_path: PathBuf, configuration: Configuration) -> Self {
        module.configure_pin(configuration.token(), configuration.pin().cloned());
        module.configure_certificate(configuration.certificate());
        Self {
            module,
            module_path,
            configuration: RwLock::new(Arc::new(configuration)),
            reload_error: Mutex::default(),
            counters: Counters::default(),
            log_limit: LogLimit::default(),
            limits: Limits::default(),
            started: Instant::now(),
        }
    }

    /// A place for one more connection of `peer`, if it may have one.
    pub(crate) fn admit(&self, peer: &Peer, policy: &Policy) -> Option<Place> {
        let standing = match peer.account {
            Account::User(0) => Standing::Root,
            _ if policy.names(peer) => Standing::Named,
            _ => Standing::Other,
        };
        let rate = policy.requests_per_second;
        let place = self.limits.admit(peer.account, standing, rate);
        if place.is_none() {
            self.complain(peer, "too many connections");
        }
        place
    }

    /// The call that a request takes; or its answer, if it takes none: when all calls hang, that still works.
    pub(crate) fn sort(
        &self,
        peer: &Peer,
        place: &Place,
        request: Request,
        calls: &Calls,
    ) -> Result<Call, Response> {
        match request::sort(request) {
            // Never throttled: they cost less than an error, and a client that got one would take this
            // signer for one without the extension.
            Ok(Sorted::Immediate(Immediate::Ping)) => Err(Response::Pong),
            Ok(Sorted::Immediate(Immediate::Hello)) => {
                Err(Response::Extension(ExtensionResponse::Hello))
            }
            _ if place.too_fast => Err(self.throttle(peer)),
            Ok(Sorted::Immediate(Immediate::Status)) => Err(self.answer_status(peer, calls)),
            Ok(Sorted::Call(call)) => {
                let configuration = self.configuration();
                let policy = configuration.policy();
                if policy.check(peer, call.operation()).is_err() {
                    // Whoever may not do it at all needs no turn to be told so.
                    return Err(self.answer_within(&configuration, peer, call));
                }
                Ok(call)
            }
            Err(error) => Err(self.refuse(peer, &error)),
        }
    }

    /// The answer to what is no request.
    pub(crate) fn refuse(&self, peer: &Peer, error: &dyn std::error::Error) -> Response {
        let message = format!("bad request: {error}");
        self.complain(peer, &message);
        Response::Error(message)
    }

    /// One line on how it goes. Every user of the machine may read it, so it has no text of a failure.
    pub(crate) fn status(&self) -> String {
        self.facts().line()
    }

    /// Who may list tokens may know how they do. What failed for others is told to who may change
    /// something.
    fn answer_status(&self, peer: &Peer, calls: &Calls) -> Response {
        let configuration = self.configuration();
        if let Err(refusal) = configuration.policy().check(peer, Operation::List) {
            self.counters.refused.fetch_add(1, Relaxed);
            let message = refusal.to_string();
            self.complain(peer, &message);
            return Response::Error(message);
        }
        let in_full = peer.uid == 0 || configuration.policy().is_trusted(peer);
        let report = self.facts().report(calls, in_full);
        Response::Extension(ExtensionResponse::Status(Box::new(report)))
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            module: &self.module,
            module_path: &self.module_path,
            counters: &self.counters,
            connections: self.limits.connections(),
            started: self.started,
            reload_error: self.reload_error(),
        }
    }

    /// Whether more than one user has connected of late.
    pub(crate) fn has_several_users(&self) -> bool {
        self.limits.has_several_users()
    }

    fn throttle(&self, peer: &Peer) -> Response {
        self.counters.throttled.fetch_add(1, Relaxed);
        let rate = self.configuration().policy().requests_per_second;
        let message = format!(
            "{} may send {rate} requests a second, and has sent more; try again in a second",
            peer.account
        );
        self.complain(peer, &message);
        Response::Error(message)
    }

    /// Logs what is wrong with a client's connection.
    pub(crate) fn complain(&self, peer: &Peer, what: &str) {
        let what = cut(what, COMPLAINT);
        let line = Line {
            operation: "connection",
            outcome: "refused",
            reason: Some(&what),
            len: what.len(),
        };
        if self.log_limit.allows(peer.account, line) {
            log::warn!(PEER_UID = peer.uid, PEER_PID = peer.pid; "{peer}: {what}");
        }
    }

    /// Logs what was counted only, of seconds that are over.
    pub(crate) fn flush_log(&self) {
        self.log_limit.flush();
    }

    fn reload_error(&self) -> Option<String> {
        self.reload_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes a call of `peer`, and logs it. Blocks for as long as the token takes.
    pub(crate) fn answer(&self, peer: &Peer, call: Call) -> Response {
        self.answer_within(&self.configuration(), peer, call)
    }

    fn answer_within(&self, configuration: &Configuration, peer: &Peer, call: Call) -> Response {
        let (operation, explained) = (call.operation(), call.explained);
        let mut record = Record::new(peer.clone(), operation);
        let rights = Rights {
            configuration,
            peer,
            operation,
        };
        let result = handle(&self.module, &rights, call, &mut record);
        self.counters
            .count(operation, record.elapsed(), result.as_ref().err());
        record.log(&result, &self.log_limit);
        match result {
            Ok((response, changed_pin)) => {
                if let Some(pin) = changed_pin {
                    self.set_pin(pin);
                }
                response
            }
            Err(failure) if explained => failure.explained(|uri| rights.may_list(uri)),
            Err(failure) => Response::Error(failure.told(|uri| rights.may_list(uri))),
        }
    }

    /// From now on, this is what the operator configured.
    pub(crate) fn configure(&self, configuration: Configuration) {
        let new = Arc::new(configuration);
        self.module.configure_pin(new.token(), new.pin().cloned());
        self.module.configure_certificate(new.certificate());
        let old = {
            let mut current = self
                .configuration
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, new.clone())
        };
        if old.pin() != new.pin() {
            self.module.pin_changed();
        }
    }

    /// Where a call of `peer` waits: calls that name the same token share a lane.
    pub(crate) fn queued(&self, peer: &Peer, call: &Call) -> Queued {
        let configuration = self.configuration();
        let lane = if call.is_about_all_tokens() {
            Arc::default()
        } else {
            // A URI that is wrong gets its error behind the others.
            let target = configuration.target(call.uri.as_deref(), None);
            target
                .map(|target| target.named.lane(|| self.module.used_tokens()))
                .unwrap_or_default()
        };
        Queued {
            lane,
            account: peer.account,
            operation: call.operation(),
            most: configuration.policy().waiting_requests.get(),
            bytes: call.bytes(),
        }
    }

    /// What a client of `peer` is told whose request takes longer than that, which is logged.
    pub(crate) fn late(&self, peer: &Peer, operation: Operation, since: Instant) -> Response {
        let limit = time_limit(operation).as_secs();
        let late = Failure::Late { limit };
        let message = late.to_string();
        Record::since(since, peer.clone(), operation).log(&Err::<(), _>(late), &self.log_limit);
        Response::Error(message)
    }

    /// What a client of `peer` is told who has too many requests waiting, which is logged.
    pub(crate) fn crowd(&self, peer: &Peer, full: Full) -> Response {
        self.counters.throttled.fetch_add(1, Relaxed);
        let most = self.configuration().policy().waiting_requests;
        let waiting = match full {
            Full::Requests => format!("{most} requests waiting for this token"),
            Full::Bytes => format!("requests of {WAITING_BYTES} bytes waiting"),
        };
        let message = format!(
            "{} has {waiting} already; try again when some are answered",
            peer.account
        );
        self.complain(peer, &message);
        Response::Error(message)
    }

    /// Remembers how reading the configuration again went, for the status.
    pub(crate) fn set_reload_error(&self, error: Option<String>) {
        *self
            .reload_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Ends the use of the module.
    pub(crate) fn finalize(&self) {
        self.module.finalize();
    }

    /// What the operator configured, for now.
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        self.configuration
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The configured PIN was changed on the token by a client.
    fn set_pin(&self, pin: Pin) {
        log::warn!("the configured PIN is out of date now; configure the new one");
        let changed = self.configuration().with_pin(pin);
        self.configure(changed);
    }
}

/// Characters of what is wrong with a connection, in a log line; some of it may be the client's.
const COMPLAINT: usize = 256;
