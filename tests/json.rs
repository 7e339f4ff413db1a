//! docs/json.md promises what `--json` prints: each table is compared with what its command prints, in states that have
//! something to say and in such that have not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use support::{Hsm, Kind, Signer, program, repository, succeed};

/// A row of a table.
struct Field {
    kind: String,
    /// The values that are listed, if there is a list.
    values: BTreeSet<String>,
    nullable: bool,
}

/// What was printed in the places of one field.
#[derive(Debug, Default)]
struct Seen {
    null: bool,
    value: bool,
}

#[test]
fn the_page_is_what_is_printed() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start(&hsm);
    let ours = |args: &[&str]| {
        let mut command = signer.tedge_hsm();
        command.args(args);
        command
    };
    let mut page = Page::read();
    // Before there is anything.
    page.check("list-keys", &mut ours(&["list-keys"]));
    page.check("list-certificates", &mut ours(&["list-certificates"]));
    page.check("status", &mut ours(&["status"]));
    page.check("list-tokens", &mut ours(&["list-tokens"]));
    page.check("hsms", &mut ours(&["hsms"]));
    page.check("doctor", &mut ours(&["doctor", "--root", "/nowhere"]));

    let uri = hsm.create_key("device", "p256");
    // Of another program, without a label and an id.
    hsm.pkcs11_tool(&["--keypairgen", "--key-type", "EC:secp256r1"]);
    let certificate = hsm.file("device.pem");
    let names = [
        "--common-name",
        "device",
        "--san",
        "DNS:device",
        "--uri",
        &uri,
        "--output",
    ];
    succeed(ours(&["self-signed"]).args(names).arg(&certificate));
    let certificate = certificate.to_str().unwrap();
    succeed(&mut ours(&[
        "import-certificate",
        "--uri",
        &uri,
        "--cert",
        certificate,
    ]));
    let absent = ["public-key", "--uri", "pkcs11:object=absent"];
    support::fail(&mut ours(&absent));
    page.check("list-keys", &mut ours(&["list-keys"]));
    page.check("list-certificates", &mut ours(&["list-certificates"]));
    page.check("status", &mut ours(&["status"]));
    // While a key is being replaced.
    std::fs::create_dir(hsm.file("device-certs")).unwrap();
    for error in ["", ", \"error\": \"x\""] {
        let key = "pkcs11:token=device;id=%01";
        let record = format!(
            "{{\"step\": \"try\", \"since\": 1, \"old_key\": \"{key}\", \"new_key\": \"{key}\", \
             \"key_type\": \"p256\", \"found_by_default\": true{error}}}"
        );
        let path = hsm.file("device-certs/tedge-certificate.pem.rotation");
        std::fs::write(path, record).unwrap();
        let mut status = ours(&["status"]);
        page.check("status", status.env("TEDGE_CONFIG_DIR", hsm.dir.path()));
        let installed = hsm.file("device-certs/tedge-certificate.pem");
        std::fs::copy(certificate, installed).unwrap();
        let record = "{\"renewed\": 1, \"tried\": 2, \"failures\": 3, \"error\": \"x\"}";
        let path = hsm.file("device-certs/tedge-certificate.pem.renewal");
        std::fs::write(path, record).unwrap();
    }
    page.check(
        "show CERT",
        &mut ours(&["show", certificate, "--uri", &uri]),
    );
    // Without a signer.
    let mut show = hsm.command(program("tedge-hsm"));
    show.args(["--socket-path", "/nowhere/signer.sock", "show", certificate]);
    page.check("show CERT", &mut show);
    page.check(
        "doctor",
        &mut ours(&["doctor", "--root", "/nowhere", "--uri", &uri]),
    );
    page.must_have_seen_all();
}

/// The tables, by the command that is in the heading.
struct Page(BTreeMap<String, BTreeMap<String, (Field, Seen)>>);

impl Page {
    fn read() -> Self {
        let text = std::fs::read_to_string(repository().join("docs/json.md")).unwrap();
        let sections = text.split("\n## `tedge-hsm ").skip(1);
        let tables = sections.map(|section| {
            let (command, rest) = section.split_once(" --json`\n").unwrap();
            let rows = rest.lines().filter_map(|line| line.strip_prefix("| `"));
            let fields = rows.map(|row| {
                let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
                let [name, kind, null] = cells[..] else {
                    panic!("{command}: {row}")
                };
                let (kind, values) = kind.split_once(": ").unwrap_or((kind, ""));
                let values = values.split(", ").filter_map(|value| {
                    let value = value.strip_prefix('`')?.strip_suffix('`')?;
                    Some(value.to_owned())
                });
                let field = Field {
                    kind: kind.to_owned(),
                    // What a list leaves open is told in words.
                    values: if row.contains(", or ") {
                        BTreeSet::new()
                    } else {
                        values.collect()
                    },
                    nullable: null != "never",
                };
                (
                    name.trim_end_matches('`').to_owned(),
                    (field, Seen::default()),
                )
            });
            (command.to_owned(), fields.collect())
        });
        Self(tables.collect())
    }

    fn check(&mut self, command: &str, run: &mut Command) {
        let output = run.arg("--json").output().unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{run:?}: {error}: {output:?}"));
        let table = self
            .0
            .get_mut(command)
            .unwrap_or_else(|| panic!("no table of {command}"));
        match &printed {
            Value::Array(objects) => objects.iter().for_each(|o| compare(command, table, "", o)),
            object => compare(command, table, "", object),
        }
    }

    /// What no state has shown is not tested.
    fn must_have_seen_all(&self) {
        // A certificate that is damaged, a device of USB, a token without names, a signer that reloads or hangs.
        let elsewhere = [
            "list-certificates",
            "list-tokens model",
            "list-tokens manufacturer",
        ];
        for (command, table) in &self.0 {
            for (name, (field, seen)) in table {
                let path = format!("{command} {name}");
                assert!(
                    seen.value
                        || ["trouble", "pause_ms", "reload_error", "problems[]"]
                            .iter()
                            .any(|end| name.ends_with(end)),
                    "{path} was never printed"
                );
                assert!(
                    seen.null
                        || !field.nullable
                        || elsewhere.iter().any(|start| path.starts_with(start)),
                    "{path} was never null"
                );
            }
        }
    }
}

fn compare(command: &str, table: &mut BTreeMap<String, (Field, Seen)>, at: &str, value: &Value) {
    let below = |name: &str| format!("{at}.{name}").trim_start_matches('.').to_owned();
    if let Some((field, seen)) = table.get_mut(at) {
        let kind = match value {
            Value::Null => {
                assert!(field.nullable, "{command} {at} is null");
                seen.null = true;
                return;
            }
            Value::String(text) => {
                assert!(!text.is_empty(), "{command} {at} is empty, not null");
                assert!(
                    field.values.is_empty() || field.values.contains(text),
                    "{command} {at}: {text} is not in the list"
                );
                "string"
            }
            Value::Number(_) => "number",
            Value::Bool(_) => "boolean",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert_eq!(kind, field.kind, "{command} {at}");
        seen.value = true;
    }
    let known: Vec<String> = table.keys().cloned().collect();
    let has = |path: &str| {
        let parts = [".", "[]"].map(|next| format!("{path}{next}"));
        known
            .iter()
            .any(|known| known == path || parts.iter().any(|p| known.starts_with(p)))
    };
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| compare(command, table, &format!("{at}[]"), item)),
        Value::Object(fields)
            if at.is_empty() || known.iter().any(|k| k.starts_with(&format!("{at}."))) =>
        {
            for (name, value) in fields {
                assert!(
                    has(&below(name)),
                    "{command} {} is not on the page",
                    below(name)
                );
                compare(command, table, &below(name), value);
            }
            let mut wanted = known.iter().filter_map(|known| match at {
                "" => Some(known.as_str()),
                at => known.strip_prefix(at)?.strip_prefix('.'),
            });
            let missing =
                wanted.find(|path| !fields.contains_key(path.split(['.', '[']).next().unwrap()));
            assert_eq!(missing, None, "{command} {at} is not printed");
        }
        _ => {}
    }
}
