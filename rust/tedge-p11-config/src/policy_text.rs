//! tedge-p11-server.toml: the policy as an operator writes it.

use std::num::{NonZeroU32, NonZeroUsize};

use serde::Deserialize;
use tedge_p11_protocol::Uri;

use crate::policy::{Operation, Policy, Purposes, Rule, Who};

/// What is wrong with a policy's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is not TOML, or not of this form.
    #[error("line {line}: {message}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A rule says what can't be.
    #[error("rule {number}: {message}")]
    Rule {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// Turns names into numbers.
pub trait Names {
    /// Number of the user called `name`, if there is one.
    fn uid(&self, name: &str) -> Option<u32>;
    /// Number of the group called `name`, if there is one.
    fn gid(&self, name: &str) -> Option<u32>;
}

impl Policy {
    /// Reads the text of a policy's file.
    pub fn parse(text: &str, names: &impl Names) -> Result<Self, TextError> {
        let file: File = toml::from_str(text).map_err(|error| TextError::Malformed {
            line: error
                .span()
                .map_or(1, |span| text[..span.start].matches('\n').count() + 1),
            // It may quote a name with any character in it.
            message: tedge_file::printable(error.message()),
        })?;
        let rules = file.rule.into_iter().enumerate().map(|(index, rule)| {
            rule.parse(names).map_err(|message| TextError::Rule {
                number: index + 1,
                message,
            })
        });
        let mut policy = Self::new(rules.collect::<Result<_, _>>()?);
        if let Some(limit) = file.limits.requests_per_second {
            policy.requests_per_second = limit;
        }
        if let Some(limit) = file.limits.waiting_requests {
            policy.waiting_requests = limit;
        }
        Ok(policy)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<FileRule>,
    #[serde(default)]
    limits: FileLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileLimits {
    requests_per_second: Option<NonZeroU32>,
    waiting_requests: Option<NonZeroUsize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    user: Option<String>,
    uid: Option<u32>,
    group: Option<String>,
    gid: Option<u32>,
    operations: Vec<String>,
    keys: Option<Vec<String>>,
    purposes: Option<Vec<String>>,
}

impl FileRule {
    fn parse(self, names: &impl Names) -> Result<Rule, String> {
        let who = match (self.user, self.uid, self.group, self.gid) {
            (None, None, None, None) => Who::Everybody,
            (Some(name), None, None, None) => Who::User(
                names
                    .uid(&name)
                    .ok_or(format!("there is no user {name:?}"))?,
            ),
            (None, Some(uid), None, None) => Who::User(uid),
            (None, None, Some(name), None) => Who::Group(
                names
                    .gid(&name)
                    .ok_or(format!("there is no group {name:?}"))?,
            ),
            (None, None, None, Some(gid)) => Who::Group(gid),
            _ => return Err("give one of user, uid, group and gid, or none for all".to_owned()),
        };
        let operations = self.operations.iter().map(|name| {
            name.parse::<Operation>().map_err(|()| {
                let known = Operation::ALL.map(|known| known.to_string()).join(", ");
                format!("{name:?} is no operation; they are {known}")
            })
        });
        let keys = match self.keys {
            None => Vec::new(),
            Some(keys) if keys.is_empty() => {
                return Err("keys names none: leave it out for all keys".to_owned());
            }
            Some(keys) => keys
                .iter()
                .map(|key| parse_key(key))
                .collect::<Result<_, _>>()?,
        };
        // Not among the others: a digest has no purpose that anybody could look at.
        let mut names = self.purposes;
        let given = names.as_ref().map_or(0, Vec::len);
        if let Some(names) = &mut names {
            names.retain(|name| name != "digest");
        }
        let digests = names.as_ref().map_or(0, Vec::len) < given;
        let purposes = match names {
            None => Purposes::default(),
            Some(names) if names.iter().any(|name| name == "any") => Purposes::Any,
            Some(names) => Purposes::Only(
                names
                    .iter()
                    .map(|name| {
                        name.parse()
                            .map_err(|_| format!("{name:?} is no purpose; they are {PURPOSES}"))
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Rule {
            who,
            operations: operations.collect::<Result<_, _>>()?,
            keys,
            purposes,
            digests,
        })
    }
}

fn parse_key(key: &str) -> Result<Uri, String> {
    let key: Uri = key
        .parse()
        .map_err(|error: tedge_p11_protocol::UriError| error.to_string())?;
    if key.pin.is_some() {
        return Err("a PIN has no place in keys: everybody may read this file".to_owned());
    }
    Ok(key)
}

const PURPOSES: &str = "tls13-client, tls12-client, csr, self-signed, any and digest";

#[cfg(test)]
mod tests {
    use tedge_p11_purpose::Purpose;

    use super::*;
    use crate::peer::Peer;

    struct Table;

    impl Names for Table {
        fn uid(&self, name: &str) -> Option<u32> {
            (name == "mapper").then_some(900)
        }

        fn gid(&self, name: &str) -> Option<u32> {
            (name == "admins").then_some(77)
        }
    }

    #[test]
    fn rules_are_read() {
        let text = "
            [[rule]]
            user = \"mapper\"
            operations = [\"sign\", \"describe\"]
            keys = [\"pkcs11:token=device;object=tls\"]
            purposes = [\"tls13-client\"]

            [[rule]]
            group = \"admins\"
            operations = [\"create-key\"]

            [[rule]]
            uid = 0
            operations = [\"sign\"]
            purposes = [\"any\"]
        ";
        let expected = Policy::new(vec![
            Rule {
                who: Who::User(900),
                operations: vec![Operation::Sign, Operation::Describe],
                keys: vec!["pkcs11:token=device;object=tls".parse().unwrap()],
                purposes: Purposes::Only(vec![Purpose::Tls13Client]),
                digests: false,
            },
            Rule {
                who: Who::Group(77),
                operations: vec![Operation::CreateKey],
                keys: Vec::new(),
                purposes: Purposes::default(),
                digests: false,
            },
            Rule {
                who: Who::User(0),
                operations: vec![Operation::Sign],
                keys: Vec::new(),
                purposes: Purposes::Any,
                digests: false,
            },
        ]);
        assert_eq!(Policy::parse(text, &Table).unwrap(), expected);
        let text = "[[rule]]\noperations = [\"sign\"]\npurposes = [\"digest\", \"csr\"]";
        let digests = Rule {
            who: Who::Everybody,
            operations: vec![Operation::Sign],
            keys: Vec::new(),
            purposes: Purposes::Only(vec![Purpose::Csr]),
            digests: true,
        };
        assert_eq!(
            Policy::parse(text, &Table).unwrap(),
            Policy::new(vec![digests])
        );
        let text = "[limits]\nrequests-per-second = 7\nwaiting-requests = 3";
        let limited = Policy::parse(text, &Table).unwrap();
        assert_eq!(limited.requests_per_second.get(), 7);
        assert_eq!(limited.waiting_requests.get(), 3);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, said) in [
            (
                "[[rule]]\nusr = \"x\"\noperations = []",
                "line 2: unknown field `usr`",
            ),
            ("rules = 1", "line 1: unknown field `rules`"),
            ("\"ru\\nles\" = 1", "line 1: unknown field `ru\u{fffd}les`"),
            (
                "[limits]\nrequests-per-second = 0",
                "line 2: invalid value: integer `0`",
            ),
            (
                "[[rule]]\noperations = [\"sing\"]",
                "rule 1: \"sing\" is no operation",
            ),
            (
                "[[rule]]\noperations = []\n[[rule]]\nuser = \"nobody\"\noperations = []",
                "rule 2: there is no user \"nobody\"",
            ),
            (
                "[[rule]]\nuid = 1\ngid = 1\noperations = []",
                "rule 1: give one of user, uid, group and gid",
            ),
            (
                "[[rule]]\noperations = []\nkeys = [\"pkcs11:tokn=x\"]",
                "rule 1: invalid PKCS#11 URI: unknown attribute \"tokn\"",
            ),
            (
                "[[rule]]\noperations = []\npurposes = [\"tls\"]",
                "rule 1: \"tls\" is no purpose",
            ),
        ] {
            let error = Policy::parse(text, &Table).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (text, said) in [
            ("[[rule]]", "line 1: missing field `operations`"),
            ("rule = 1", "line 1: invalid type: integer `1`"),
            ("[rule]\noperations = []", "line 1: invalid type: map"),
            (
                "[[rule]]\noperations = \"sign\"",
                "line 2: invalid type: string",
            ),
            (
                "[[rule]]\noperations = [1]",
                "line 2: invalid type: integer",
            ),
            (
                "[[rule]]\noperations = []\noperations = []",
                "line 3: duplicate key",
            ),
            (
                "[[rule]]\nOperations = []",
                "line 2: unknown field `Operations`",
            ),
            (
                "[[rule]]\noperations = [\"Sign\"]",
                "rule 1: \"Sign\" is no operation",
            ),
            (
                "[[rule]]\noperations = [\"*\"]",
                "rule 1: \"*\" is no operation",
            ),
            (
                "[[rule]]\nuser = 900\noperations = []",
                "line 2: invalid type: integer",
            ),
            (
                "[[rule]]\nuser = \"900\"\noperations = []",
                "rule 1: there is no user \"900\"",
            ),
            (
                "[[rule]]\nuser = \"\"\noperations = []",
                "rule 1: there is no user \"\"",
            ),
            (
                "[[rule]]\nuid = \"900\"\noperations = []",
                "line 2: invalid type: string",
            ),
            (
                "[[rule]]\nuid = -1\noperations = []",
                "line 2: invalid value: integer `-1`",
            ),
            (
                "[[rule]]\ngid = 4294967296\noperations = []",
                "line 2: invalid value",
            ),
            (
                "[[rule]]\nkeys = []\noperations = []",
                "rule 1: keys names none",
            ),
            (
                "[[rule]]\nkeys = [\"\"]\noperations = []",
                "rule 1: invalid PKCS#11 URI",
            ),
            (
                "[[rule]]\nkeys = [\"pkcs11:object=a;object=b\"]\noperations = []",
                "rule 1: invalid",
            ),
            (
                "[[rule]]\nkeys = [\"pkcs11:object=a?pin-value=1234\"]\noperations = []",
                "rule 1: a PIN has no place in keys",
            ),
            (
                "[[rule]]\nkeys = [\"pkcs11:object=a?pin-source=/pin\"]\noperations = []",
                "rule 1: a PIN has no place in keys",
            ),
            (
                "[[rule]]\npurposes = [\"tls13-client\", \"x\"]\noperations = []",
                "rule 1: \"x\" is no",
            ),
            ("\u{feff}[[rule", "line 1: "),
            ("\0", "line 1: "),
        ] {
            let error = Policy::parse(text, &Table).unwrap_err().to_string();
            assert!(error.starts_with(said), "{text:?}: {error}");
            assert!(!error.contains("1234") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn nothing_is_allowed_that_no_rule_lists() {
        let all = "[[rule]]\nuid = 1\n";
        for (text, signs) in [
            ("", false),
            ("rule = []", false),
            (&format!("{all}operations = []"), false),
            (
                &format!("{all}operations = [\"describe\", \"delete-key\"]"),
                false,
            ),
            (
                &format!("{all}operations = [\"sign\"]\npurposes = []"),
                false,
            ),
            (
                &format!("{all}operations = [\"sign\"]\nkeys = [\"pkcs11:object=b\"]"),
                false,
            ),
            // Two rules are not one that allows all of it.
            (
                &format!(
                    "{all}operations = [\"sign\"]\npurposes = [\"csr\"]\n\
                     [[rule]]\noperations = [\"list\"]"
                ),
                false,
            ),
            (&format!("{all}operations = [\"sign\"]"), true),
            (
                &format!("{all}operations = [\"sign\"]\nkeys = [\"pkcs11:object=a\"]"),
                true,
            ),
        ] {
            let policy = Policy::parse(text, &Table).unwrap();
            let key = "pkcs11:token=t;object=a;type=private".parse().unwrap();
            let signature = |uid| {
                let peer = Peer::with_groups(1, uid, &[uid]);
                policy.check_signature(&peer, &key, || Ok(Purpose::Tls13Client))
            };
            assert_eq!(signature(1).is_ok(), signs, "{text}");
            assert!(signature(2).is_err(), "{text}");
        }
    }
}
