//! What the peer of a request may do with what the request speaks of.

use tedge_p11_config::{Operation, Peer, Policy, Refusal};
use tedge_p11_protocol::{ObjectType, Pin, Uri};

use super::failure::Failure;
use crate::configuration::{Configuration, Target};

/// The rights of one peer in one request.
pub(super) struct Rights<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) peer: &'a Peer,
    /// What the request does.
    pub(super) operation: Option<Operation>,
}

impl Rights<'_> {
    /// What the request speaks of, unless no rule can cover it: a PIN that came with it must not be tried
    /// on a token where the peer has no key.
    pub(super) fn target(&self, uri: Option<&str>, pin: Option<Pin>) -> Result<Target, Failure> {
        let target = self.configuration.target(uri, pin).map_err(Failure::new)?;
        if let Some(operation) = self.operation {
            self.policy()
                .check_token(self.peer, operation, target.token())?;
        }
        Ok(target)
    }

    /// The same once the token is found, which a request can name by less than a rule does. The refusal names
    /// what was asked for, not what is there.
    pub(super) fn token_check<'t>(
        &'t self,
        target: &'t Target,
    ) -> impl Fn(&Uri) -> Result<(), String> + 't {
        move |token| {
            let Some(operation) = self.operation else {
                return Ok(());
            };
            let decision = self.policy().check_token(self.peer, operation, token);
            decision.map_err(|_| {
                let refusal = Refusal::Key {
                    peer: self.peer.clone(),
                    operation,
                    key: target.token().clone(),
                };
                refusal.to_string()
            })
        }
    }

    /// Whether the peer may know of the token or object of that URI.
    pub(super) fn may_list(&self, uri: &Uri) -> bool {
        let decision = match uri.object_type {
            Some(_) => self.check_private(Operation::List, uri.clone()),
            None => self.policy().check(self.peer, Operation::List),
        };
        decision.is_ok()
    }

    pub(super) fn policy(&self) -> &Policy {
        self.configuration.policy()
    }

    /// Whether the peer may do this with the private key that the object of that URI belongs to.
    pub(super) fn check_private(&self, operation: Operation, uri: Uri) -> Result<(), Refusal> {
        let private = Uri {
            object_type: Some(ObjectType::Private),
            ..uri
        };
        self.policy().check_key(self.peer, operation, &private)
    }

    /// Whether the peer may do this with the key or token that the caller has found.
    pub(super) fn check(&self, operation: Operation) -> impl Fn(&Uri) -> Result<(), String> {
        move |uri| {
            let decision = self.policy().check_key(self.peer, operation, uri);
            decision.map_err(|refusal| refusal.to_string())
        }
    }
}
