//! The bridge's configuration: a table for the cloud, beside what the operator wrote.

use std::path::Path;

use anyhow::{Context as _, bail};
use tedge_file::{Edited, MAX_SETTINGS, printable};
use tedge_p11_client::Uri;
use tedge_tls::PostQuantum;
use toml_edit::{Array, DocumentMut, Item, Value};

use super::cloud::Connection;
use crate::toml_table::table;

/// What the cloud's table is to say.
pub(super) struct Settings<'a> {
    /// `[cloud.NAME]`.
    pub(super) name: &'a str,
    pub(super) connection: &'a Connection,
    /// A file; the bridge takes no folder.
    pub(super) ca: Option<&'a Path>,
    pub(super) cert: &'a Path,
    pub(super) key: &'a Uri,
    pub(super) post_quantum: PostQuantum,
}

/// What the file says of the cloud already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct There {
    /// The bridge would connect.
    pub(super) is_configured: bool,
    /// It would connect with no other key exchange than a post-quantum one.
    pub(super) is_post_quantum: bool,
    /// Its table has a preset, or rules.
    pub(super) has_rules: bool,
}

/// Looks into the file; one that is not there says nothing.
pub(super) fn look(path: &Path, name: &str) -> anyhow::Result<There> {
    let (_, document) = read(path)?;
    let cloud = document.get("cloud").and_then(Item::as_table_like);
    let cloud = cloud.and_then(|cloud| cloud.get(name)?.as_table_like());
    let has = |key: &str| cloud.is_some_and(|cloud| cloud.contains_key(key));
    Ok(There {
        is_configured: has("client_id") && has("host") && has("cert"),
        is_post_quantum: cloud.is_some_and(|cloud| {
            let set = cloud.get("post_quantum").and_then(Item::as_str);
            set.and_then(|text| text.parse().ok()) == Some(PostQuantum::Require)
        }),
        has_rules: has("preset") || has("out") || has("in"),
    })
}

/// Puts in what is missing. What the operator set otherwise stays, if the bridge would go to the same place with it; else
/// it is an error. Returns whether anything was written.
pub(super) fn write(path: &Path, settings: &Settings<'_>) -> anyhow::Result<bool> {
    let failed = || format!("cannot configure the bridge in {}", path.display());
    let (file, mut document) = read(path)?;
    let before = document.to_string();
    edit(&mut document, settings).with_context(failed)?;
    let after = document.to_string();
    if after == before {
        return Ok(false);
    }
    file.replace(&after, 0o644)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn read(path: &Path) -> anyhow::Result<(Edited, DocumentMut)> {
    let file = Edited::read(path, MAX_SETTINGS)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let document = file.text().parse().ok();
    let document = document.with_context(|| format!("{} is not TOML", path.display()))?;
    Ok((file, document))
}

fn edit(document: &mut DocumentMut, settings: &Settings<'_>) -> anyhow::Result<()> {
    let connection = settings.connection;
    let cloud = table(table(document.as_table_mut(), "cloud")?, settings.name)?;
    let mut wanted: Vec<(&str, Value)> = Vec::new();
    if let Some(preset) = connection.preset {
        wanted.push(("preset", preset.into()));
    }
    wanted.push(("host", connection.host.clone().into()));
    if let Some(port) = connection.port {
        wanted.push(("port", i64::from(port).into()));
    }
    wanted.push(("client_id", connection.client_id.clone().into()));
    if let Some(username) = &connection.username {
        wanted.push(("username", username.clone().into()));
    }
    if !connection.alpn.is_empty() {
        let names: Array = connection.alpn.iter().collect();
        wanted.push(("alpn", names.into()));
    }
    // The bridge's service runs in another folder.
    let absolute = |path: &Path| -> anyhow::Result<Value> {
        Ok(std::path::absolute(path)?.display().to_string().into())
    };
    wanted.push(("cert", absolute(settings.cert)?));
    if let Some(ca) = settings.ca {
        wanted.push(("ca", absolute(ca)?));
    }
    wanted.push(("key", settings.key.to_string().into()));
    if settings.post_quantum != PostQuantum::default() {
        wanted.push(("post_quantum", settings.post_quantum.to_string().into()));
    }
    for (name, value) in wanted {
        match cloud.get(name) {
            None => {
                cloud.insert(name, Item::Value(value));
            }
            Some(there) if DECISIVE.contains(&name) && !is_same(there, &value) => bail!(
                "[cloud.{}] has {name} = {}, not {}: remove that line, or give the table another name",
                settings.name,
                printable(there.to_string().trim()),
                printable(&value.to_string()),
            ),
            Some(_) => {}
        }
    }
    Ok(())
}

fn is_same(there: &Item, value: &Value) -> bool {
    match (there.as_str(), value.as_str()) {
        (Some(there), Some(value)) => there == value,
        _ => there.to_string().trim() == value.to_string().trim(),
    }
}

/// With another of these the bridge would be another device, go elsewhere, or go there in a way that is not wanted.
const DECISIVE: [&str; 3] = ["host", "client_id", "post_quantum"];

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> anyhow::Result<String> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("bridge.toml");
        std::fs::write(&path, text)?;
        let connection = Connection {
            preset: Some("aws-iot"),
            host: "a.example".to_owned(),
            port: Some(443),
            client_id: "device-1".to_owned(),
            alpn: vec!["x-amzn-mqtt-ca".to_owned()],
            ..Connection::default()
        };
        let settings = Settings {
            name: "aws",
            connection: &connection,
            ca: None,
            cert: Path::new("/c.pem"),
            key: &"pkcs11:token=device;object=tls".parse()?,
            post_quantum: PostQuantum::Require,
        };
        let is_written = write(&path, &settings)?;
        let after = std::fs::read_to_string(&path)?;
        assert_eq!(is_written, after != text);
        let there = look(&path, "aws")?;
        assert!(there.is_configured && there.is_post_quantum);
        // Once more there is nothing to do.
        assert!(!write(&path, &settings)?);
        Ok(after)
    }

    const TABLE: &str = "[cloud.aws]\npreset = \"aws-iot\"\nhost = \"a.example\"\nport = 443\nclient_id = \"device-1\"\n\
                         alpn = [\"x-amzn-mqtt-ca\"]\ncert = \"/c.pem\"\nkey = \"pkcs11:token=device;object=tls\"\n\
                         post_quantum = \"require\"\n";

    #[test]
    fn what_the_operator_wrote_stays() {
        assert_eq!(edited("").unwrap(), TABLE);
        let own = "# mine\n[local]\nport = 1884 # not 1883\n\n[cloud.other]\nhost = \"b\"\nclient_id = \"x\"\ncert = \"/d\"\n";
        assert_eq!(edited(own).unwrap(), format!("{own}\n{TABLE}"));
        let begun = "[cloud.aws]\nhost = \"a.example\" # ours\nkeep_alive = 30\nkey = \"pkcs11:object=other\"\n\n[[cloud.aws.out]]\ntopic = \"a/#\"\n";
        let after = edited(begun).unwrap();
        for line in begun.lines().filter(|line| !line.is_empty()) {
            assert!(after.contains(line), "{line}: {after}");
        }
        assert!(after.contains("client_id = \"device-1\""), "{after}");
    }

    #[test]
    fn another_device_or_place_is_an_error() {
        for (text, said) in [
            (
                "[cloud.aws]\nhost = \"b\"\n",
                "has host = \"b\", not \"a.example\"",
            ),
            (
                "[cloud.aws]\nclient_id = \"device-2\"\n",
                "has client_id = \"device-2\"",
            ),
            (
                "[cloud.aws]\npost_quantum = \"off\"\n",
                "has post_quantum = \"off\"",
            ),
            ("cloud = 1\n", "cloud is no table"),
            ("[cloud\n", "is not TOML"),
        ] {
            let error = format!("{:#}", edited(text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
