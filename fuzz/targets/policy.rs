//! The policy's file: what is decided is what a plain reading of the same TOML says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tedge_p11_config::{Names, Operation, Peer, Policy};
use tedge_p11_protocol::Uri;
use tedge_p11_purpose::{Purpose, Unrecognized};
use toml::{Table, Value};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let policy = match Policy::parse(text, &Users) {
        Ok(policy) => policy,
        Err(error) => {
            // It is a line of the journal.
            assert!(!error.to_string().contains('\n'), "{error}");
            return;
        }
    };
    let read: Table = text.parse().expect("what is a policy is TOML");
    let rules: Vec<&Table> = match read.get("rule") {
        Some(Value::Array(rules)) => rules.iter().filter_map(Value::as_table).collect(),
        _ => Vec::new(),
    };
    let keys = [
        "pkcs11:token=device;object=tls;type=private",
        "pkcs11:id=%01",
    ];
    for key in keys.map(|key| key.parse::<Uri>().expect("a URI")) {
        for (uid, gid) in [(0, 0), (900, 900), (1, 77)] {
            let peer = Peer::with_groups(1, uid, &[gid]);
            let allowing = |operation: Operation| {
                rules.iter().filter(move |rule| {
                    names_peer(rule, uid, gid) && lists(rule, operation.to_string())
                })
            };
            for operation in Operation::ALL {
                let allowed = allowing(operation).next().is_some();
                assert_eq!(policy.check(&peer, operation).is_ok(), allowed);
                let allowed = allowing(operation).any(|rule| covers(rule, &key));
                assert_eq!(policy.check_key(&peer, operation, &key).is_ok(), allowed);
            }
            let purposes = Purpose::ALL.map(Ok).into_iter();
            for recognized in purposes.chain([Err(Unrecognized::Nothing)]) {
                let allowed = allowing(Operation::Sign)
                    .any(|rule| covers(rule, &key) && signs(rule, recognized.ok()));
                let decision = policy.check_signature(&peer, &key, || recognized);
                assert_eq!(decision.is_ok(), allowed, "{recognized:?}");
            }
        }
    }
});

/// A machine with two users and two groups.
struct Users;

impl Names for Users {
    fn uid(&self, name: &str) -> Option<u32> {
        number(name)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        number(name)
    }
}

fn number(name: &str) -> Option<u32> {
    match name {
        "root" => Some(0),
        "tedge" => Some(900),
        "tedge-hsm" => Some(77),
        _ => None,
    }
}

fn names_peer(rule: &Table, uid: u32, gid: u32) -> bool {
    let named = |field: &str, own: u32| {
        rule.get(field).is_none_or(|value| match value {
            Value::String(name) => number(name) == Some(own),
            Value::Integer(number) => *number == i64::from(own),
            _ => false,
        })
    };
    named("user", uid) && named("uid", uid) && named("group", gid) && named("gid", gid)
}

fn lists(rule: &Table, operation: String) -> bool {
    strings(rule, "operations").is_some_and(|listed| listed.contains(&operation.as_str()))
}

fn covers(rule: &Table, key: &Uri) -> bool {
    strings(rule, "keys").is_none_or(|listed| {
        let mut uris = listed.iter().filter_map(|uri| uri.parse::<Uri>().ok());
        uris.any(|uri| uri.covers(key))
    })
}

fn signs(rule: &Table, purpose: Option<Purpose>) -> bool {
    strings(rule, "purposes").map_or(purpose.is_some(), |listed| {
        listed.contains(&"any")
            || purpose.is_some_and(|purpose| listed.contains(&purpose.to_string().as_str()))
    })
}

fn strings<'a>(rule: &'a Table, field: &str) -> Option<Vec<&'a str>> {
    let values = rule.get(field)?.as_array()?;
    Some(values.iter().filter_map(Value::as_str).collect())
}
