//! tedge-p11-server.toml: the policy as an operator writes it.

use std::path::Path;

use nix::unistd::{Group, User};
use serde::Deserialize;
use tedge_p11_protocol::Uri;

use crate::policy::{Operation, Policy, Purposes, Rule, Who};

/// Why there is no policy to go by.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It can't be read, or others could have written it.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is not TOML, or has something unknown in it.
    #[error("{path}, line {line}: {message}")]
    Malformed {
        /// The file.
        path: String,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A rule makes no sense.
    #[error("{path}, rule {number}: {message}")]
    Rule {
        /// The file.
        path: String,
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads the policy in `path` for a signer that runs as the user `signer`; a file that is not there
/// means [`Policy::without_file`].
pub fn load(path: &Path, signer: u32) -> Result<Policy, PolicyError> {
    match read(path, signer) {
        Ok(text) => parse(&text, &path.display().to_string(), &UserDatabase),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Policy::without_file(UserDatabase.gid(ADMINISTRATORS)))
        }
        Err(error) => Err(PolicyError::Unreadable {
            path: path.display().to_string(),
            error,
        }),
    }
}

/// A policy that others than root, or than who runs the signer, can write would be theirs to make.
fn read(path: &Path, signer: u32) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read as _};
    use std::os::unix::fs::MetadataExt as _;
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let owners = [0, signer];
    if !owners.contains(&metadata.uid()) || metadata.mode() & 0o022 != 0 {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "others than root may write it: chown root and chmod 644 it",
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Turns names into numbers.
pub(crate) trait Names {
    fn uid(&self, name: &str) -> Option<u32>;
    fn gid(&self, name: &str) -> Option<u32>;
}

/// The names of this machine.
struct UserDatabase;

impl Names for UserDatabase {
    fn uid(&self, name: &str) -> Option<u32> {
        let user = User::from_name(name).ok()??;
        Some(user.uid.as_raw())
    }

    fn gid(&self, name: &str) -> Option<u32> {
        let group = Group::from_name(name).ok()??;
        Some(group.gid.as_raw())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    user: Option<String>,
    uid: Option<u32>,
    group: Option<String>,
    gid: Option<u32>,
    operations: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
    purposes: Option<Vec<String>>,
}

pub(crate) fn parse(text: &str, path: &str, names: &impl Names) -> Result<Policy, PolicyError> {
    let file: File = toml::from_str(text).map_err(|error| PolicyError::Malformed {
        path: path.to_owned(),
        line: error
            .span()
            .map_or(1, |span| text[..span.start].matches('\n').count() + 1),
        message: error.message().to_owned(),
    })?;
    let rules = file.rule.into_iter().enumerate().map(|(index, rule)| {
        rule.parse(names).map_err(|message| PolicyError::Rule {
            path: path.to_owned(),
            number: index + 1,
            message,
        })
    });
    Ok(Policy::new(rules.collect::<Result<_, _>>()?))
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
        let keys = self
            .keys
            .iter()
            .map(|key| key.parse::<Uri>().map_err(|error| error.to_string()));
        let purposes = match self.purposes {
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
            keys: keys.collect::<Result<_, _>>()?,
            purposes,
        })
    }
}

/// Members may change things on tokens when there is no file.
const ADMINISTRATORS: &str = "tedge-hsm";
const PURPOSES: &str = "tls13-client, tls12-client, csr, self-signed and any";

#[cfg(test)]
mod tests {
    use tedge_p11_purpose::Purpose;

    use super::*;

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
            },
            Rule {
                who: Who::Group(77),
                operations: vec![Operation::CreateKey],
                keys: Vec::new(),
                purposes: Purposes::default(),
            },
            Rule {
                who: Who::User(0),
                operations: vec![Operation::Sign],
                keys: Vec::new(),
                purposes: Purposes::Any,
            },
        ]);
        assert_eq!(parse(text, "file", &Table).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, said) in [
            (
                "[[rule]]\nusr = \"x\"\noperations = []",
                "file, line 2: unknown field `usr`",
            ),
            ("rules = 1", "file, line 1: unknown field `rules`"),
            (
                "[[rule]]\noperations = [\"sing\"]",
                "file, rule 1: \"sing\" is no operation",
            ),
            (
                "[[rule]]\noperations = []\n[[rule]]\nuser = \"nobody\"\noperations = []",
                "file, rule 2: there is no user \"nobody\"",
            ),
            (
                "[[rule]]\nuid = 1\ngid = 1\noperations = []",
                "file, rule 1: give one of user, uid, group and gid",
            ),
            (
                "[[rule]]\noperations = []\nkeys = [\"pkcs11:tokn=x\"]",
                "file, rule 1: invalid PKCS#11 URI: unknown attribute \"tokn\"",
            ),
            (
                "[[rule]]\noperations = []\npurposes = [\"tls\"]",
                "file, rule 1: \"tls\" is no purpose",
            ),
        ] {
            let error = parse(text, "file", &Table).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
