//! Who may have what signed or changed. Decides on values only; the file is read in `policy_file`.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tedge_p11_protocol::Uri;
use tedge_p11_purpose::{Purpose, Unrecognized};

use crate::peer::{Account, Peer};

/// The rules; what no rule allows is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    /// Requests that one user may send in a second.
    pub requests_per_second: NonZeroU32,
    /// Requests of one user that may wait for one token; one more gets an error at once.
    pub waiting_requests: NonZeroUsize,
    /// Where it was read from, or would have been: a refusal names it.
    pub file: Option<PathBuf>,
}

/// Allows its peers its operations on its keys for its purposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The peers.
    pub who: Who,
    /// What they may do.
    pub operations: Vec<Operation>,
    /// URIs whose attributes a key must have; all keys if there is none.
    pub keys: Vec<Uri>,
    /// What they may have signed.
    pub purposes: Purposes,
    /// Whether they may also have digests signed that they made themselves. Of what, nobody can tell.
    pub digests: bool,
}

/// The peers of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Who may open the socket.
    Everybody,
    /// Clients of the user with this uid.
    User(u32),
    /// Clients whose user is in the group with this gid.
    Group(u32),
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A signature.
    Sign,
    /// Public key, schemes and certificate of a key.
    Describe,
    /// Tokens and keys.
    List,
    /// A new key pair.
    CreateKey,
    /// A key's end.
    DeleteKey,
    /// A label and PINs for a blank token.
    InitToken,
    /// Another user PIN.
    ChangePin,
    /// A certificate beside its key.
    ImportCertificate,
}

/// What may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purposes {
    /// Anything at all.
    Any,
    /// What is recognised as one of these.
    Only(Vec<Purpose>),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No rule allows the peer the operation.
    #[error(
        "{peer} may not {operation}: no rule of the policy allows it{}",
        next(peer, file.as_deref())
    )]
    Operation {
        /// Who.
        peer: Peer,
        /// What.
        operation: Operation,
        /// Where the policy is.
        file: Option<PathBuf>,
    },
    /// The rules that do are for other keys.
    #[error(
        "{peer} may not {operation} with {key}: no rule that allows it covers this key{}",
        next(peer, file.as_deref())
    )]
    Key {
        /// Who.
        peer: Peer,
        /// What.
        operation: Operation,
        /// With which key.
        key: Uri,
        /// Where the policy is.
        file: Option<PathBuf>,
    },
    /// The rules that are for this key are for other purposes.
    #[error(
        "{peer} may not sign this with {key}: {}, and no rule that covers the key allows that",
        what(recognized)
    )]
    Purpose {
        /// Who.
        peer: Peer,
        /// With which key.
        key: Uri,
        /// What was to be signed.
        recognized: Recognized,
    },
    /// No rule that is for this key lets the peer sign digests.
    #[error(
        "{peer} may not sign a digest with {key}: nobody can tell which message it stands for, and no rule that \
         covers the key has the purpose digest; a program that sends the whole message needs no such rule"
    )]
    Digest {
        /// Who.
        peer: Peer,
        /// With which key.
        key: Uri,
    },
}

/// What was found out about a message: its purpose, or why it has none.
pub type Recognized = Result<Purpose, Unrecognized>;

impl Policy {
    /// One that goes by these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            requests_per_second: REQUESTS_PER_SECOND,
            waiting_requests: WAITING_REQUESTS,
            file: None,
        }
    }

    /// Without a file: who may open the socket may sign, describe and list; only root and the group
    /// `tedge-hsm`, if there is one, may change anything on a token.
    #[must_use]
    pub fn without_file(tedge_hsm: Option<u32>) -> Self {
        let rule = |who, operations: &[Operation]| Rule {
            who,
            operations: operations.to_vec(),
            keys: Vec::new(),
            purposes: Purposes::default(),
            digests: false,
        };
        let mut rules = vec![
            rule(Who::Everybody, &Operation::READING),
            rule(Who::User(0), &Operation::ALL),
        ];
        rules.extend(tedge_hsm.map(|group| rule(Who::Group(group), &Operation::ALL)));
        Self::new(rules)
    }

    /// Whether some rule is for a group, so that the groups of peers have to be known.
    #[must_use]
    pub fn goes_by_groups(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| matches!(rule.who, Who::Group(_)))
    }

    /// Whose the limits are that a client with this uid has; `is_known` tells whether the user database has it.
    /// Root and those that a rule names have their own.
    #[must_use]
    pub fn account(&self, uid: u32, is_known: bool) -> Account {
        let named = || self.rules.iter().any(|rule| rule.who == Who::User(uid));
        if is_known || uid == 0 || named() {
            Account::User(uid)
        } else {
            Account::Nameless
        }
    }

    /// Whether the peer is root, or a rule is for its user or a group of its user: places are kept free for
    /// those.
    #[must_use]
    pub fn names(&self, peer: &Peer) -> bool {
        let named = |who: Who| who != Who::Everybody && who.is(peer);
        match peer.account {
            Account::Nameless => false,
            Account::User(uid) => uid == 0 || self.rules.iter().any(|rule| named(rule.who)),
        }
    }

    /// Whether some rule lets the peer do this at all.
    pub fn check(&self, peer: &Peer, operation: Operation) -> Result<(), Refusal> {
        if self.rules_for(peer, operation).next().is_some() {
            return Ok(());
        }
        Err(Refusal::Operation {
            peer: peer.clone(),
            operation,
            file: self.file.clone(),
        })
    }

    /// Whether one rule lets the peer do this with this key or token.
    pub fn check_key(&self, peer: &Peer, operation: Operation, key: &Uri) -> Result<(), Refusal> {
        self.check(peer, operation)?;
        if self.rules_for(peer, operation).any(|rule| rule.covers(key)) {
            return Ok(());
        }
        Err(Refusal::Key {
            peer: peer.clone(),
            operation,
            key: key.clone(),
            file: self.file.clone(),
        })
    }

    /// Whether one rule can let the peer do this on the token that these attributes leave: what is found
    /// there is for [`check_key`](Self::check_key).
    pub fn check_token(
        &self,
        peer: &Peer,
        operation: Operation,
        token: &Uri,
    ) -> Result<(), Refusal> {
        let mut rules = self.rules_for(peer, operation);
        if rules.any(|rule| rule.may_be_on(token)) {
            return Ok(());
        }
        Err(Refusal::Key {
            peer: peer.clone(),
            operation,
            key: token.clone(),
            file: self.file.clone(),
        })
    }

    /// Whether the peer may change anything on a token.
    #[must_use]
    pub fn is_trusted(&self, peer: &Peer) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.operations.iter().any(|o| o.changes()) && rule.who.is(peer))
    }

    /// Whether one rule lets the peer sign this with this key. `recognize` is asked only where a rule
    /// depends on it.
    pub fn check_signature(
        &self,
        peer: &Peer,
        key: &Uri,
        recognize: impl FnOnce() -> Recognized,
    ) -> Result<(), Refusal> {
        self.check_key(peer, Operation::Sign, key)?;
        let sign = Operation::Sign;
        let mut any = self
            .rules
            .iter()
            .filter(|rule| rule.purposes == Purposes::Any);
        if any.any(|rule| rule.covers(key) && rule.allows(peer, sign)) {
            return Ok(());
        }
        let recognized = recognize();
        let allowed = recognized.as_ref().is_ok_and(|purpose| {
            self.rules
                .iter()
                .any(|rule| rule.names(*purpose) && rule.covers(key) && rule.allows(peer, sign))
        });
        if allowed {
            return Ok(());
        }
        Err(Refusal::Purpose {
            peer: peer.clone(),
            key: key.clone(),
            recognized,
        })
    }

    /// Whether one rule lets the peer have a digest signed with this key.
    pub fn check_digest(&self, peer: &Peer, key: &Uri) -> Result<(), Refusal> {
        self.check_key(peer, Operation::Sign, key)?;
        let mut rules = self.rules_for(peer, Operation::Sign);
        if rules.any(|rule| rule.digests && rule.covers(key)) {
            return Ok(());
        }
        Err(Refusal::Digest {
            peer: peer.clone(),
            key: key.clone(),
        })
    }

    /// Whether one rule lets the peer have digests signed with a key that could be on this token.
    #[must_use]
    pub fn signs_digests_on(&self, peer: &Peer, token: &Uri) -> bool {
        let mut rules = self.rules_for(peer, Operation::Sign);
        rules.any(|rule| rule.digests && rule.may_be_on(token))
    }

    fn rules_for<'a>(
        &'a self,
        peer: &'a Peer,
        operation: Operation,
    ) -> impl Iterator<Item = &'a Rule> {
        let rules = self.rules.iter();
        rules.filter(move |rule| rule.allows(peer, operation))
    }
}

impl Rule {
    fn allows(&self, peer: &Peer, operation: Operation) -> bool {
        self.operations.contains(&operation) && self.who.is(peer)
    }

    fn names(&self, purpose: Purpose) -> bool {
        match &self.purposes {
            Purposes::Any => true,
            Purposes::Only(purposes) => purposes.contains(&purpose),
        }
    }

    /// Whether none of the token's attributes contradicts those of a key.
    fn may_be_on(&self, token: &Uri) -> bool {
        let agrees = |wanted: &Uri| {
            let wanted = wanted.token_part();
            wanted.covers(&wanted.clone().confined_to(token))
        };
        self.keys.is_empty() || self.keys.iter().any(agrees)
    }

    fn covers(&self, key: &Uri) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|wanted| wanted.covers(key))
    }
}

impl Who {
    fn is(self, peer: &Peer) -> bool {
        match self {
            Self::Everybody => true,
            Self::User(uid) => peer.uid == uid,
            Self::Group(gid) => peer.groups.contains(&gid),
        }
    }
}

impl Operation {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Sign,
        Self::Describe,
        Self::List,
        Self::CreateKey,
        Self::DeleteKey,
        Self::InitToken,
        Self::ChangePin,
        Self::ImportCertificate,
    ];

    /// Those that change nothing on a token.
    pub const READING: [Self; 3] = [Self::Sign, Self::Describe, Self::List];

    /// As it is called in a policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Describe => "describe",
            Self::List => "list",
            Self::CreateKey => "create-key",
            Self::DeleteKey => "delete-key",
            Self::InitToken => "init-token",
            Self::ChangePin => "change-pin",
            Self::ImportCertificate => "import-certificate",
        }
    }

    /// Whether it changes something on a token.
    #[must_use]
    pub fn changes(self) -> bool {
        !Self::READING.contains(&self)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or(())
    }
}

impl Default for Purposes {
    /// Everything that is recognised: enough for TLS clients and for their certificates.
    fn default() -> Self {
        Self::Only(Purpose::ALL.to_vec())
    }
}

/// Far more than a device with a hardware token can make use of.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// More than all programs of a device ask for at the same moment.
const WAITING_REQUESTS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What whoever keeps the policy does about a refusal.
fn next(peer: &Peer, file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| {
        format!(
            "; {} needs one in {}, which systemctl reload tedge-p11-server takes up",
            tedge_file::user(peer.uid),
            file.display()
        )
    })
}

fn what(recognized: &Recognized) -> String {
    match recognized {
        Ok(purpose) => format!("it is for {purpose}"),
        Err(unrecognized) => unrecognized.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPER: u32 = 900;
    const ADMINS: u32 = 77;
    const KEY: &str = "pkcs11:token=device;id=%01;object=tls;type=private";

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer::with_groups(1, uid, groups)
    }

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_file() {
        let policy = Policy::without_file(Some(ADMINS));
        for (who, changes) in [
            (peer(MAPPER, &[900]), false),
            (peer(MAPPER, &[900, ADMINS]), true),
            (peer(0, &[0]), true),
        ] {
            for operation in Operation::ALL {
                let allowed = policy.check_key(&who, operation, &uri(KEY)).is_ok();
                assert_eq!(
                    allowed,
                    changes || !operation.changes(),
                    "{who} {operation}"
                );
            }
            for purpose in Purpose::ALL {
                let recognize = || Ok(purpose);
                policy.check_signature(&who, &uri(KEY), recognize).unwrap();
            }
            assert_eq!(policy.is_trusted(&who), changes, "{who}");
            let error = policy
                .check_signature(&who, &uri(KEY), || Err(Unrecognized::Nothing))
                .unwrap_err();
            assert!(matches!(error, Refusal::Purpose { .. }), "{error}");
        }
    }

    #[test]
    fn uids_without_a_user_share_an_account_unless_a_rule_names_them() {
        let rule = |who| Rule {
            who,
            operations: vec![Operation::Sign],
            keys: Vec::new(),
            purposes: Purposes::default(),
            digests: false,
        };
        let policy = Policy::new(vec![
            rule(Who::Everybody),
            rule(Who::User(100_001)),
            rule(Who::Group(ADMINS)),
        ]);
        for (uid, is_known, account) in [
            (0, false, Account::User(0)),
            (MAPPER, true, Account::User(MAPPER)),
            (100_000, false, Account::Nameless),
            (100_001, false, Account::User(100_001)),
        ] {
            assert_eq!(policy.account(uid, is_known), account);
        }
        // Whoever picks a uid may pick a group, too.
        let nameless = Peer {
            account: Account::Nameless,
            ..peer(100_000, &[ADMINS])
        };
        for (who, named) in [
            (peer(0, &[]), true),
            (peer(100_001, &[]), true),
            (peer(MAPPER, &[]), false),
            (peer(MAPPER, &[ADMINS]), true),
            (nameless, false),
        ] {
            assert_eq!(policy.names(&who), named, "{who}");
        }
        assert!(policy.goes_by_groups());
        assert!(!Policy::without_file(None).goes_by_groups());
    }

    #[test]
    fn one_rule_must_allow_all_of_it() {
        let rule = |keys: &[&str], purposes| Rule {
            who: Who::User(MAPPER),
            operations: vec![Operation::Sign],
            keys: keys.iter().map(|key| uri(key)).collect(),
            purposes,
            digests: false,
        };
        let policy = Policy::new(vec![
            rule(
                &["pkcs11:object=tls"],
                Purposes::Only(vec![Purpose::Tls13Client]),
            ),
            rule(&["pkcs11:object=documents"], Purposes::Any),
        ]);
        let documents = uri("pkcs11:token=device;object=documents");
        let third = uri("pkcs11:token=device;object=third");
        for (uid, key, recognized, allowed) in [
            (MAPPER, uri(KEY), Ok(Purpose::Tls13Client), true),
            (MAPPER, uri(KEY), Ok(Purpose::Csr), false),
            (MAPPER, uri(KEY), Err(Unrecognized::Nothing), false),
            (MAPPER, documents.clone(), Err(Unrecognized::Nothing), true),
            (MAPPER, third, Ok(Purpose::Tls13Client), false),
            (MAPPER + 1, documents, Err(Unrecognized::Nothing), false),
        ] {
            let decision = policy.check_signature(&peer(uid, &[]), &key, || recognized);
            assert_eq!(decision.is_ok(), allowed, "{uid} {key} {recognized:?}");
        }
        let nothing = policy.check(&peer(MAPPER, &[]), Operation::DeleteKey);
        assert!(matches!(nothing, Err(Refusal::Operation { .. })));
    }

    #[test]
    fn a_refusal_names_the_user_and_the_file() {
        let mut policy = Policy::new(Vec::new());
        policy.file = Some("/x/policy.toml".into());
        let error = policy.check(&peer(0, &[]), Operation::List).unwrap_err();
        assert_eq!(
            error.to_string(),
            "uid 0 (pid 1) may not list: no rule of the policy allows it; root needs one in /x/policy.toml, which \
             systemctl reload tedge-p11-server takes up"
        );
    }

    #[test]
    fn a_digest_takes_a_rule_of_its_own() {
        let rule = |key: &str, purposes, digests| Rule {
            who: Who::Everybody,
            operations: vec![Operation::Sign],
            keys: vec![uri(key)],
            purposes,
            digests,
        };
        let policy = Policy::new(vec![
            rule("pkcs11:object=tls", Purposes::Any, false),
            rule("pkcs11:object=ssh", Purposes::Only(Vec::new()), true),
        ]);
        let tls = policy.check_digest(&peer(1, &[]), &uri("pkcs11:object=tls"));
        assert!(matches!(tls, Err(Refusal::Digest { .. })), "{tls:?}");
        let ssh = uri("pkcs11:object=ssh");
        policy.check_digest(&peer(1, &[]), &ssh).unwrap();
        let message = policy.check_signature(&peer(1, &[]), &ssh, || Ok(Purpose::Tls13Client));
        assert!(message.is_err());
        for who in [peer(0, &[]), peer(1, &[])] {
            let decision = Policy::without_file(None).check_digest(&who, &ssh);
            assert!(decision.is_err(), "{who}");
        }
    }

    #[test]
    fn a_token_is_refused_where_no_key_can_be() {
        let policy = Policy::new(vec![Rule {
            who: Who::Everybody,
            operations: vec![Operation::Sign],
            keys: vec![uri("pkcs11:token=a;object=x"), uri("pkcs11:serial=2")],
            purposes: Purposes::Any,
            digests: false,
        }]);
        for (token, allowed) in [
            ("pkcs11:", true),
            ("pkcs11:token=a", true),
            ("pkcs11:token=a;serial=1", true),
            ("pkcs11:token=b", true),
            ("pkcs11:token=b;serial=2", true),
            ("pkcs11:token=b;serial=1", false),
        ] {
            let decision = policy.check_token(&peer(1, &[]), Operation::Sign, &uri(token));
            assert_eq!(decision.is_ok(), allowed, "{token}");
        }
        let other = policy.check_token(&peer(1, &[]), Operation::List, &uri("pkcs11:"));
        assert!(other.is_err());
    }
}
