//! Settings files without what others may not know. Only values that are known to be harmless stay.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tedge_file::{FileError, MAX_SETTINGS};
use tedge_p11_client::{PinSource, Uri};
use toml_edit::{DocumentMut, Item, Value};

use super::redactor::{Redactor, SECRET};
use crate::doctor::Context;
use crate::profile::PROFILES;
use crate::settings_file::{SETTINGS_FOLDER, is_own};

/// The settings of all our programs, by their names in the bundle.
pub(super) fn entries(context: &Context<'_>, redactor: &mut Redactor) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut add = |path: PathBuf, form: fn(&File, &Context<'_>, &mut Redactor) -> String| {
        let text = match File::read(&path) {
            Ok(file) => {
                redactor.limit(if file.is_own {
                    usize::MAX
                } else {
                    MOST_OF_OTHERS
                });
                let text = form(&file, context, redactor);
                redactor.limit(usize::MAX);
                text
            }
            Err(error) if error.is_not_found() => return,
            Err(error) => unreadable(&error),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        entries.push((format!("settings/{name}"), text));
    };
    add(context.config_dir.join("tedge.toml"), toml);
    add(context.policy_path.clone(), toml);
    add(context.bridge_path(), toml);
    for name in ["provision.conf", "enroll.conf", "renew.conf"] {
        add(context.root.path(SETTINGS_FOLDER).join(name), variables);
    }
    for unit in [
        "tedge-p11-server.service",
        "tedge-p11-server.socket",
        "tedge-hsm-bridge.service",
    ] {
        let folder = context.root.path(format!("/etc/systemd/system/{unit}.d"));
        for path in drop_ins(&folder) {
            let text = File::read(&path);
            let text = text.map_or_else(
                |error| unreadable(&error),
                |file| unit_file(&file.text, redactor),
            );
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = drop_in_name(&name, redactor);
            entries.push((format!("settings/{unit}.d/{name}.conf"), text));
        }
    }
    entries
}

/// A file with settings.
struct File {
    text: String,
    /// Whether nobody but root or the user of this process wrote it: only then the files that it names are opened.
    is_own: bool,
}

impl File {
    fn read(path: &Path) -> Result<Self, FileError> {
        let file = tedge_file::open(path)?;
        let is_own = is_own(file.metadata());
        let mut text = Vec::new();
        file.read_into(&mut text, MAX_SETTINGS)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Self { text, is_own })
    }

    /// A file with a secret in it, by a setting of this one.
    fn add_secret_file(&self, path: &str, context: &Context<'_>, redactor: &mut Redactor) {
        if self.is_own {
            redactor.add_secret_file(&context.root.path(path));
        }
    }
}

fn unreadable(error: &FileError) -> String {
    format!(
        "({error})
"
    )
}

fn drop_ins(folder: &Path) -> Vec<PathBuf> {
    let names = tedge_file::Folder::open(folder).and_then(|folder| folder.names(MOST_DROP_INS));
    let paths = names
        .unwrap_or_default()
        .into_iter()
        .map(|name| folder.join(name));
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect()
}

/// Without `.conf`. Ours stay, and that of `systemctl edit`.
fn drop_in_name(name: &str, redactor: &mut Redactor) -> String {
    let drop_ins = PROFILES.iter().map(|profile| profile.drop_in);
    let mut known = drop_ins.map(|drop_in| drop_in.trim_end_matches(".conf"));
    if known.any(|known| known == name) || DROP_INS.contains(&name) {
        name.to_owned()
    } else {
        redactor.add_name("drop-in", name)
    }
}

/// A line for each setting, without comments.
fn toml(file: &File, context: &Context<'_>, redactor: &mut Redactor) -> String {
    let Ok(document) = file.text.parse::<DocumentMut>() else {
        // The library's words may quote it.
        return format!("(it is no TOML; {} lines)\n", file.text.lines().count());
    };
    let mut toml = Toml {
        file,
        context,
        redactor,
        lines: String::new(),
    };
    toml.walk("", document.as_item());
    toml.lines
}

struct Toml<'a> {
    file: &'a File,
    context: &'a Context<'a>,
    redactor: &'a mut Redactor,
    lines: String,
}

impl Toml<'_> {
    fn walk(&mut self, name: &str, item: &Item) {
        if let Some(table) = item.as_table_like() {
            for (key, item) in table.iter() {
                let key = if is_chosen(name) {
                    self.redactor.add_name("name", key)
                } else {
                    known_key(key).to_owned()
                };
                let below = if name.is_empty() {
                    key
                } else {
                    format!("{name}.{key}")
                };
                self.walk(&below, item);
            }
        } else if let Some(tables) = item.as_array_of_tables() {
            for (number, table) in (1..).zip(tables.iter()) {
                for (key, item) in table {
                    let key = known_key(key);
                    self.walk(&format!("{name}[{number}].{key}"), item);
                }
            }
        } else if let Some(value) = item.as_value() {
            let key = name.rsplit('.').next().unwrap_or_default();
            let table = name.split(['.', '[']).next().unwrap_or_default();
            let shown = if TABLES.contains(&table) || is_secret(key) {
                self.shown(key, value)
            } else {
                "(removed)".to_owned()
            };
            let _ = writeln!(self.lines, "{name} = {shown}");
        }
    }

    fn shown(&mut self, key: &str, value: &Value) -> String {
        match value {
            Value::Boolean(value) => value.value().to_string(),
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| self.shown(key, value)).collect();
                format!("[{}]", values.join(", "))
            }
            Value::InlineTable(_) => SECRET.to_owned(),
            Value::String(value) => self.text(key, value.value()),
            _ if PLAIN.contains(&key) => value.to_string().trim().to_owned(),
            // A PIN without its quotation marks is a number.
            _ => {
                if is_secret(key) {
                    self.redactor.add_secret(value.to_string().trim());
                }
                SECRET.to_owned()
            }
        }
    }

    fn text(&mut self, key: &str, value: &str) -> String {
        if is_secret(key) {
            self.redactor.add_secret(value);
            return SECRET.to_owned();
        }
        if key == "password_file" {
            self.file
                .add_secret_file(value, self.context, self.redactor);
        }
        match value.parse::<Uri>().ok().and_then(|uri| uri.pin) {
            Some(PinSource::Value(pin)) => self.redactor.add_secret(pin.expose()),
            Some(PinSource::File(path)) => {
                let path = path.to_string_lossy();
                self.file
                    .add_secret_file(&path, self.context, self.redactor);
            }
            None => {}
        }
        let is_account = ["user", "group"].contains(&key) && ACCOUNTS.contains(&value);
        if (PLAIN.contains(&key) && has_form(key, value)) || is_account {
            format!("{value:?}")
        } else {
            format!("{:?}", self.redactor.add_value(value))
        }
    }
}

/// Whether the value is what such a setting has: a URI of PKCS#11, an absolute path, a word.
fn has_form(key: &str, value: &str) -> bool {
    match key {
        "uri" | "key_uri" | "keys" | "key" => value.starts_with("pkcs11:"),
        "cert" | "ca" | "socket" => value.starts_with('/'),
        _ if key.ends_with("_path") || key.ends_with("_file") => value.starts_with('/'),
        _ => value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_*".contains(c)),
    }
}

/// Whether the operator chose the names of the tables in `table`.
fn is_chosen(table: &str) -> bool {
    let last = table.rsplit('.').next();
    last.is_some_and(|last| last == "cloud" || last == "profiles")
}

/// The key of a setting, if we or thin-edge.io have one of that name: others may be names of customers, or secrets.
fn known_key(key: &str) -> &str {
    if PLAIN.contains(&key)
        || TABLES.contains(&key)
        || KEYS.contains(&key)
        || key == "pin"
        || SECRET_WORDS.contains(&key)
    {
        key
    } else if is_secret(key) {
        "(other-secret)"
    } else {
        "(other)"
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_path = key.ends_with("_file") || key.ends_with("_path");
    let has_word = SECRET_WORDS.iter().any(|word| key.contains(word));
    !is_path && (has_word || key.ends_with("pin"))
}

/// KEY=VALUE, and options as on a command line in the value.
fn variables(file: &File, context: &Context<'_>, redactor: &mut Redactor) -> String {
    let mut lines = String::new();
    for line in settings_in(&file.text) {
        let Some((key, value)) = line.split_once('=') else {
            lines.push_str("(removed)\n");
            continue;
        };
        let key = key.trim();
        // What is none of our settings may be the rest of a secret.
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !key.chars().all(is_name) {
            lines.push_str("(removed)\n");
            continue;
        }
        if is_secret(key) {
            redactor.add_secret(value.trim().trim_matches(['"', '\'']));
            let _ = writeln!(lines, "{key}={SECRET}");
            continue;
        }
        let value = value.replace(['"', '\''], "");
        // --option=value, too.
        let value = value
            .split_whitespace()
            .map(|word| match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => format!("{option} {value}"),
                _ => word.to_owned(),
            });
        let value = value.collect::<Vec<_>>().join(" ");
        let mut before = key.to_ascii_lowercase();
        let mut words = Vec::new();
        for word in value.split_whitespace() {
            if before.ends_with("password-file")
                || before.ends_with("password_file")
                || before.ends_with("pin-file")
            {
                file.add_secret_file(word, context, redactor);
            }
            words.push(plain_word(word, redactor));
            word.clone_into(&mut before);
        }
        let _ = writeln!(lines, "{key}={}", words.join(" "));
    }
    lines
}

fn plain_word(word: &str, redactor: &mut Redactor) -> String {
    let is_plain = word.starts_with('/')
        || word.starts_with("--")
        || word.starts_with("pkcs11:")
        || WORDS.contains(&word)
        || PROFILES.iter().any(|profile| profile.name == word);
    if is_plain {
        word.to_owned()
    } else {
        redactor.add_value(word)
    }
}

/// A drop-in of systemd's.
fn unit_file(text: &str, redactor: &mut Redactor) -> String {
    let mut lines = String::new();
    for line in logical_lines(text) {
        let line = line.as_str();
        let section = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        if section.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphabetic())) {
            lines.push_str(line);
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim();
            if !key.chars().all(|c| c.is_ascii_alphabetic()) {
                lines.push_str("(removed)\n");
                continue;
            }
            let shown = match key {
                "Environment" => environment(value),
                _ if OF_ACCOUNTS.contains(&key) => {
                    let names = value.split_whitespace().map(|name| {
                        if ACCOUNTS.contains(&name) {
                            name.to_owned()
                        } else {
                            redactor.add_name("user", name)
                        }
                    });
                    names.collect::<Vec<_>>().join(" ")
                }
                _ if DIRECTIVES.contains(&key) => value.trim().to_owned(),
                _ => "(removed)".to_owned(),
            };
            let _ = write!(lines, "{key}={shown}");
        } else {
            lines.push_str("(removed)");
        }
        lines.push('\n');
    }
    lines
}

/// As systemd reads them: a line goes on behind a backslash, and comments in between are none of it.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in settings_in(text) {
        let part = line.strip_suffix('\\');
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.push(' ');
                last.push_str(part.unwrap_or(line));
            }
            None => lines.push(part.unwrap_or(line).to_owned()),
        }
        goes_on = part.is_some();
    }
    lines
}

fn environment(value: &str) -> String {
    let known = |name: &str| {
        let mut variables = PROFILES.iter().flat_map(|profile| profile.environment);
        variables.any(|variable| variable.name == name)
    };
    let assignments = value.split_whitespace().map(|word| {
        let word = word.trim_matches(['"', '\'']);
        match word.split_once('=') {
            Some((name, _)) if known(name) => word.to_owned(),
            Some((name, _)) => format!("{name}=(removed)"),
            None => "(removed)".to_owned(),
        }
    });
    assignments.collect::<Vec<_>>().join(" ")
}

/// The lines that are no comment.
fn settings_in(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// Settings whose values name nobody, or are cleaned as all texts are: paths, URIs of keys, words of ours.
const PLAIN: &[&str] = &[
    "mode",
    "module_path",
    "socket_path",
    "uri",
    "key_uri",
    "cert_path",
    "key_path",
    "csr_path",
    "root_cert_path",
    "built_in",
    "operations",
    "purposes",
    "keys",
    "uid",
    "gid",
    "requests-per-second",
    "waiting-requests",
    "preset",
    "port",
    "cert",
    "key",
    "ca",
    "socket",
    "ack_timeout",
    "drop_refused",
    "retain",
    "qos",
    "password_file",
];
const SECRET_WORDS: [&str; 4] = ["password", "passphrase", "secret", "credential"];
/// Words in OPTIONS= and the like.
const WORDS: &[&str] = &[
    "yes",
    "no",
    "true",
    "false",
    "est",
    "aws",
    "azure",
    "cumulocity",
    "csr",
    "self-signed",
];
/// Directives of systemd whose values name users and groups.
const OF_ACCOUNTS: [&str; 5] = [
    "Group",
    "SocketGroup",
    "SocketUser",
    "SupplementaryGroups",
    "User",
];
/// Users and groups that distributions and our packages make.
const ACCOUNTS: &[&str] = &[
    "root",
    "adm",
    "dialout",
    "gpio",
    "i2c",
    "mosquitto",
    "nginx",
    "nobody",
    "nogroup",
    "pcscd",
    "pkcs11",
    "plugdev",
    "scard",
    "spi",
    "systemd-journal",
    "tedge",
    "tedge-hsm-bridge",
    "tedge-p11",
    "tee",
    "teeclnt",
    "teepriv",
    "teesuppl",
    "tss",
    "users",
    "www-data",
];
/// Drop-ins of ours that belong to no HSM, and that of `systemctl edit`.
const DROP_INS: [&str; 3] = ["notify-reload", "override", "sealed-pin"];
/// Keys of our settings and of thin-edge.io's, beside those in [`PLAIN`] and [`TABLES`].
const KEYS: &[&str] = &[
    "ack_timeout",
    "add",
    "address",
    "alpn",
    "bind",
    "bridge",
    "check_interval",
    "client",
    "client_id",
    "cryptoki",
    "drop_refused",
    "entity_store",
    "firmware",
    "group",
    "health_topic",
    "host",
    "http",
    "id",
    "in",
    "keep_alive",
    "log",
    "logs",
    "max_held",
    "max_in_flight",
    "max_message",
    "mqtt",
    "no_proxy",
    "out",
    "path",
    "plugin",
    "post_quantum",
    "profiles",
    "reconnect_max",
    "root_cert_path",
    "run",
    "sudo",
    "signer",
    "smartrest",
    "software",
    "strip",
    "tls12",
    "tmp",
    "topic",
    "topics",
    "type",
    "url",
    "user",
    "username",
];
/// Directives of systemd whose values name paths and units.
const DIRECTIVES: &[&str] = &[
    "After",
    "Before",
    "BindReadOnlyPaths",
    "BindsTo",
    "ConditionPathExists",
    "DeviceAllow",
    "DevicePolicy",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "NotifyAccess",
    "PartOf",
    "PrivateDevices",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "Requires",
    "RequiresMountsFor",
    "Restart",
    "RestartSec",
    "RestrictAddressFamilies",
    "SocketMode",
    "SystemCallFilter",
    "TimeoutStartSec",
    "Type",
    "UnsetEnvironment",
    "Wants",
    "WatchdogSec",
];
/// Tables of ours, and those of thin-edge.io's that we read; others are plugins'.
const TABLES: &[&str] = &[
    "device", "c8y", "az", "aws", "proxy", "rule", "limits", "local", "cloud",
];
/// Secrets and names that are taken up from a file that another user may write.
const MOST_OF_OTHERS: usize = 200;
/// For each unit.
const MOST_DROP_INS: usize = 64;
