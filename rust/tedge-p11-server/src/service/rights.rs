//! What the peer of a request may do with what the request speaks of.

use tedge_p11_config::{Account, Operation, Peer, Recognized, Refusal};
use tedge_p11_protocol::{ObjectType, Pin, Uri};
use tedge_p11_token::{Caller, GivenPin, Giver, Permit};

use super::failure::Failure;
use crate::configuration::{Configuration, Target};

/// The rights of one peer in one request.
pub(super) struct Rights<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) peer: &'a Peer,
    /// What the request does.
    pub(super) operation: Operation,
}

impl Rights<'_> {
    /// Whether the peer may do this at all.
    pub(super) fn check_operation(&self) -> Result<(), Refusal> {
        let policy = self.configuration.policy();
        policy.check(self.peer, self.operation)
    }

    /// What the request speaks of, unless no rule can cover it: a PIN that came with it must not be tried
    /// on a token where the peer has no key.
    pub(super) fn target(&self, uri: Option<&str>, pin: Option<Pin>) -> Result<Target, Failure> {
        let target = self.any_target(uri, pin)?;
        self.check_token(target.token())?;
        Ok(target)
    }

    /// What the request speaks of, whatever rules say of it.
    pub(super) fn any_target(
        &self,
        uri: Option<&str>,
        pin: Option<Pin>,
    ) -> Result<Target, Failure> {
        Ok(self.configuration.target(uri, pin)?)
    }

    /// The same for what is found, which a request can name by less than a rule does.
    pub(super) fn token_check<'t>(&'t self, target: &'t Target) -> impl Permit + 't {
        Found {
            rights: self,
            target,
        }
    }

    /// Whether the peer may do this with the key or token that is found for `target`, for who finds it.
    pub(super) fn check<'t>(
        &'t self,
        target: &'t Target,
    ) -> impl Fn(&Uri) -> Result<(), tedge_p11_token::Refusal> + 't {
        move |uri| Ok(self.check_found(target, uri)?)
    }

    /// Whether the peer may do this with the key that was found for `target`. The refusal names what was asked
    /// for, not what is there.
    pub(super) fn check_found(&self, target: &Target, found: &Uri) -> Result<(), Refusal> {
        self.check_key(found)
            .map_err(|refusal| about(refusal, target.uri()))
    }

    /// The same for the private key that the object of that URI belongs to.
    pub(super) fn check_found_private(&self, target: &Target, found: Uri) -> Result<(), Refusal> {
        self.check_found(target, &private(found))
    }

    /// Whether the peer may do this with the key or token of that URI.
    pub(super) fn check_key(&self, uri: &Uri) -> Result<(), Refusal> {
        let policy = self.configuration.policy();
        policy.check_key(self.peer, self.operation, uri)
    }

    /// Whether the peer may do this with the private key that the object of that URI belongs to.
    pub(super) fn check_private(&self, uri: Uri) -> Result<(), Refusal> {
        self.check_key(&private(uri))
    }

    /// Whether the peer may have this signed; `recognize` tells what it is, where a rule goes by that.
    pub(super) fn check_signature(
        &self,
        key: &Uri,
        recognize: impl FnOnce() -> Recognized,
    ) -> Result<(), Refusal> {
        let policy = self.configuration.policy();
        policy.check_signature(self.peer, key, recognize)
    }

    /// Whose guesses the PINs count among that come with the request.
    pub(super) fn caller(&self) -> Caller {
        match self.peer.account {
            Account::User(uid) => Caller::User(uid),
            Account::Nameless => Caller::Nameless,
        }
    }

    /// A PIN that came with the request.
    pub(super) fn given<'p>(&self, pin: &'p Pin) -> GivenPin<'p> {
        GivenPin {
            pin,
            by: Giver::Caller(self.caller()),
        }
    }

    /// Whether the peer may have digests signed that it made itself.
    pub(super) fn check_digest(&self, key: &Uri) -> Result<(), Refusal> {
        let policy = self.configuration.policy();
        policy.check_digest(self.peer, key)
    }

    /// Whether the peer may have digests signed with some key that could be on this token.
    pub(super) fn signs_digests_on(&self, token: &Uri) -> bool {
        let policy = self.configuration.policy();
        policy.signs_digests_on(self.peer, token)
    }

    /// Whether requests of the peer can reach this token: it is one of those that are configured, and some rule
    /// can be about it.
    pub(super) fn reach(&self, token: &Uri) -> bool {
        let configured = self.configuration.token();
        let is_configured = configured.covers(&configured.clone().confined_to(token));
        is_configured && self.check_token(token).is_ok()
    }

    /// Whether the peer may know of the token or object of that URI.
    pub(super) fn may_list(&self, uri: &Uri) -> bool {
        let policy = self.configuration.policy();
        let decision = match uri.object_type {
            Some(_) => policy.check_key(self.peer, Operation::List, &private(uri.clone())),
            None => policy.check(self.peer, Operation::List),
        };
        decision.is_ok()
    }

    /// Whether the peer may have the key described that the object of that URI belongs to, whatever the request does.
    pub(super) fn may_describe(&self, uri: &Uri) -> bool {
        let policy = self.configuration.policy();
        let decision = policy.check_key(self.peer, Operation::Describe, &private(uri.clone()));
        decision.is_ok()
    }

    fn check_token(&self, token: &Uri) -> Result<(), Refusal> {
        let policy = self.configuration.policy();
        policy.check_token(self.peer, self.operation, token)
    }
}

fn private(uri: Uri) -> Uri {
    Uri {
        object_type: Some(ObjectType::Private),
        ..uri
    }
}

/// What is found for what a request asks for.
struct Found<'t> {
    rights: &'t Rights<'t>,
    target: &'t Target,
}

impl Permit for Found<'_> {
    fn token(&self, token: &Uri) -> Result<(), tedge_p11_token::Refusal> {
        let asked_for = || self.target.token().clone();
        let decision = self.rights.check_token(token);
        Ok(decision.map_err(|refusal| about(refusal, asked_for()))?)
    }

    fn key(&self, key: &Uri) -> Result<(), tedge_p11_token::Refusal> {
        Ok(self.rights.check_found(self.target, key)?)
    }
}

/// The same refusal, of what was asked for.
fn about(refusal: Refusal, asked_for: Uri) -> Refusal {
    match refusal {
        Refusal::Key {
            peer,
            operation,
            file,
            ..
        } => Refusal::Key {
            peer,
            operation,
            key: asked_for,
            file,
        },
        other => other,
    }
}
