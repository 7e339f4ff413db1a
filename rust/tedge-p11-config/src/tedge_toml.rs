//! tedge.toml: the parts that concern keys; thin-edge.io has many more.

use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use tedge_file::{FileError, MAX_SETTINGS};
use zeroize::Zeroizing;

/// The table `[device.cryptoki]`. Its `Debug` shows no PIN.
#[derive(Default, Deserialize)]
pub struct Cryptoki {
    /// PKCS#11 module.
    pub module_path: Option<String>,
    /// User PIN.
    pub pin: Option<String>,
    /// URI that confines clients.
    pub uri: Option<String>,
    /// The signer's socket.
    pub socket_path: Option<String>,
}

/// Where the device connects to, and with which certificate.
#[derive(Debug, Default, Deserialize)]
pub struct Connections {
    /// The table `[device]`.
    #[serde(default)]
    pub device: Certificate,
    /// The table `[c8y]`: Cumulocity.
    #[serde(default)]
    pub c8y: Cloud,
    /// The table `[az]`: Azure IoT.
    #[serde(default)]
    pub az: Cloud,
    /// The table `[aws]`: AWS IoT.
    #[serde(default)]
    pub aws: Cloud,
}

/// The device's certificate.
#[derive(Debug, Default, Deserialize)]
pub struct Certificate {
    /// PEM file with the certificate chain.
    #[serde(default, deserialize_with = "file_path")]
    pub cert_path: Option<PathBuf>,
}

/// A path that names a file, not what the program that reads it was started with.
fn file_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = Option::<PathBuf>::deserialize(deserializer)?;
    match path {
        Some(path) if tedge_file::is_descriptor(&path) => {
            Err(D::Error::custom("a file is wanted, not standard input"))
        }
        path => Ok(path),
    }
}

/// A cloud's table.
#[derive(Debug, Default, Deserialize)]
pub struct Cloud {
    /// Host name, perhaps with a port.
    pub url: Option<String>,
    /// Host name and port of its MQTT service, where that is another.
    pub mqtt: Option<String>,
    /// Host name and port of its HTTP service, where that is another.
    pub http: Option<String>,
    /// File or folder with the certificates that the broker's is verified with.
    #[serde(default, deserialize_with = "file_path")]
    pub root_cert_path: Option<PathBuf>,
    /// A certificate for this cloud only.
    #[serde(default)]
    pub device: Certificate,
}

/// The table `[proxy]`, as thin-edge.io has it. Its `Debug` shows no password.
#[derive(Default, Deserialize)]
pub struct ProxyTable {
    /// `[http://]HOST[:PORT]`; `https://` is possible, too.
    pub address: Option<String>,
    /// The proxy's user.
    pub username: Option<String>,
    /// The user's password.
    password: Option<String>,
    /// Hosts that are connected to directly, separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxyTable {
    /// Takes the password out.
    pub fn password(&mut self) -> Option<Zeroizing<String>> {
        self.password.take().map(Zeroizing::new)
    }
}

/// Why tedge.toml can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TomlError {
    /// It can't be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: FileError,
    },
    /// It is not TOML, or not what it should be.
    #[error("{path}, line {line}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
}

/// The table `[device.cryptoki]` of the file `path`. A file that is not there has nothing set.
pub fn read_cryptoki(path: &Path) -> Result<Cryptoki, TomlError> {
    #[derive(Default, Deserialize)]
    struct File {
        #[serde(default)]
        device: Device,
    }
    #[derive(Default, Deserialize)]
    struct Device {
        #[serde(default)]
        cryptoki: Cryptoki,
    }
    read(path).map(|file: File| file.device.cryptoki)
}

/// Where the device's certificate is in the folder of tedge.toml, unless `device.cert_path` says otherwise; as thin-edge.io
/// has it.
pub const DEFAULT_CERTIFICATE: &str = "device-certs/tedge-certificate.pem";

/// The file with the device's certificate by `tedge.toml` in `config_dir`: `device.cert_path`, else the default
/// ([`DEFAULT_CERTIFICATE`]).
pub fn read_certificate_path(config_dir: &Path) -> Result<PathBuf, TomlError> {
    #[derive(Default, Deserialize)]
    struct File {
        #[serde(default)]
        device: Certificate,
    }
    let file: File = read(&config_dir.join("tedge.toml"))?;
    let path = file.device.cert_path;
    let path = path.filter(|path| !path.as_os_str().is_empty());
    Ok(path.unwrap_or_else(|| config_dir.join(DEFAULT_CERTIFICATE)))
}

/// What names keys in the file `path`, with the values: `device.cryptoki.uri`, and each `key_uri` of thin-edge.io's. A
/// file that is not there names none.
pub fn read_key_uris(path: &Path) -> Result<Vec<(String, String)>, TomlError> {
    let mut found = Vec::new();
    collect_key_uris(&read::<toml::Table>(path)?, "", &mut found);
    Ok(found)
}

fn collect_key_uris(table: &toml::Table, prefix: &str, found: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Table(table) => collect_key_uris(table, &format!("{name}."), found),
            toml::Value::String(uri)
                if !uri.is_empty() && (key == "key_uri" || name == "device.cryptoki.uri") =>
            {
                found.push((name, uri.clone()));
            }
            _ => {}
        }
    }
}

/// The connections in the file `path`. A file that is not there has nothing set.
pub fn read_connections(path: &Path) -> Result<Connections, TomlError> {
    read(path)
}

/// The same in `text`, which was read from `path`.
pub fn parse_connections(text: &str, path: &Path) -> Result<Connections, TomlError> {
    parse(text, path)
}

/// The table `[proxy]` of the file `path`; what is empty is not set. A file that is not there has nothing set.
pub fn read_proxy(path: &Path) -> Result<ProxyTable, TomlError> {
    #[derive(Default, Deserialize)]
    struct File {
        #[serde(default)]
        proxy: ProxyTable,
    }
    let file: File = read(path)?;
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(ProxyTable {
        address: set(file.proxy.address),
        username: set(file.proxy.username),
        password: set(file.proxy.password),
        no_proxy: file.proxy.no_proxy,
    })
}

fn read<T: Default + DeserializeOwned>(path: &Path) -> Result<T, TomlError> {
    let text = match tedge_file::read_text(path, MAX_SETTINGS) {
        // A PIN or a password may be in it.
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.is_not_found() => return Ok(T::default()),
        Err(error) => {
            return Err(TomlError::Unreadable {
                path: path.to_owned(),
                error,
            });
        }
    };
    parse(&text, path)
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| TomlError::Malformed {
        path: path.to_owned(),
        line: line(text, &error),
        message: twice(text, &error).unwrap_or_else(|| without_values(error.message())),
    })
}

/// Where it is, counted from 1.
fn line(text: &str, error: &toml::de::Error) -> usize {
    error
        .span()
        .map_or(1, |span| text[..span.start].matches('\n').count() + 1)
}

/// What is there a second time, a table or a key: TOML has each once. Names hold no PIN.
fn twice(text: &str, error: &toml::de::Error) -> Option<String> {
    if !error.message().starts_with("duplicate key") {
        return None;
    }
    let again = line(text, error);
    let name = |line: &str| {
        let line = line.trim();
        let end = if line.starts_with('[') { ']' } else { '=' };
        let (name, _) = line.split_once(end)?;
        Some(name.replace([' ', '\t', '"', '\''], ""))
    };
    let doubled = name(text.lines().nth(again - 1)?)?;
    let what = match doubled.strip_prefix('[') {
        Some(table) => format!("the table [{table}]"),
        None => format!("the key {doubled}"),
    };
    let earlier: Vec<&str> = text.lines().take(again - 1).collect();
    // A key is doubled within its table.
    let first = earlier
        .iter()
        .rposition(|line| name(line).as_ref() == Some(&doubled));
    Some(match first {
        Some(first) => format!(
            "{what} appears a second time, after line {}; keep only one",
            first + 1
        ),
        None => format!("{what} appears a second time, in another form; keep only one"),
    })
}

/// What was expected, without what was found: that could be the PIN.
fn without_values(message: &str) -> String {
    // The last: what was found may say so, too.
    let expected = message.rfind("expected").map(|at| &message[at..]);
    expected
        .unwrap_or("this is not TOML, or a value of another type than expected")
        .to_owned()
}

impl std::fmt::Debug for ProxyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProxyTable { .. }")
    }
}

impl std::fmt::Debug for Cryptoki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cryptoki { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tedge.toml");
        for text in [
            "[device]\ncryptoki = \"expected 123456\"",
            "[device.cryptoki]\nuri = 123456",
            "[device.cryptoki]\npin = \"unexpected 123456",
            "[device.cryptoki]\npin = \"1\" 123456",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read_cryptoki(&path).err().unwrap().to_string();
            assert!(error.contains("line 2: expected"), "{error}");
            assert!(!error.contains("123456"), "{error}");
        }
    }

    #[test]
    fn what_is_there_twice_is_named_with_both_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tedge.toml");
        for (text, said) in [
            (
                "[device.cryptoki]\nmodule_path = \"/m.so\"\n[c8y]\n[device . cryptoki]\npin = \"1234\"\n",
                "line 4: the table [device.cryptoki] appears a second time, after line 1; keep only one",
            ),
            (
                "[device]\n[device.cryptoki]\npin = \"1234\"\n'pin' = \"1234\"\n",
                "line 4: the key pin appears a second time, after line 3; keep only one",
            ),
            (
                "[device]\ncryptoki = {pin = \"1234\"}\n[device.cryptoki]\nuri = \"pkcs11:\"\n",
                "line 3: the table [device.cryptoki] appears a second time, in another form; keep only one",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read_cryptoki(&path).err().unwrap().to_string();
            assert!(error.ends_with(said), "{error}");
            assert!(!error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn all_that_names_a_key_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tedge.toml");
        assert!(read_key_uris(&path).unwrap().is_empty());
        std::fs::write(
            &path,
            "[device]\nkey_uri = \"a\"\n[device.cryptoki]\nuri = \"b\"\n[c8y]\nurl = \"x\"\n\
             profiles.two.device.key_uri = \"c\"\n[az.device]\nkey_uri = \"\"\n",
        )
        .unwrap();
        let mut found = read_key_uris(&path).unwrap();
        found.sort();
        let expected = [
            ("c8y.profiles.two.device.key_uri", "c"),
            ("device.cryptoki.uri", "b"),
            ("device.key_uri", "a"),
        ];
        let expected = expected.map(|(name, uri)| (name.to_owned(), uri.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_proxy_is_read_as_thin_edge_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tedge.toml");
        assert!(read_proxy(&path).unwrap().address.is_none());
        let text =
            "[proxy]\naddress = \"http://p:3128\"\nusername = \"\"\npassword = \"hunter2\"\n";
        std::fs::write(&path, text).unwrap();
        let mut proxy = read_proxy(&path).unwrap();
        assert_eq!(proxy.address.as_deref(), Some("http://p:3128"));
        assert_eq!(proxy.username, None);
        assert!(!format!("{proxy:?}").contains("hunter2"));
        assert_eq!(*proxy.password().unwrap(), "hunter2");
        std::fs::write(&path, "[proxy]\npassword = 7\nusername = 123").unwrap();
        let error = read_proxy(&path).err().unwrap().to_string();
        // The folder's name is chance, and may have a 7 in it.
        let error = error.replace(&path.display().to_string(), "FILE");
        assert!(
            error.contains("line 2") || error.contains("line 3"),
            "{error}"
        );
        assert!(!error.contains('7') && !error.contains("123"), "{error}");
    }

    #[test]
    fn a_certificate_is_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["/dev/stdin", "/dev/fd/3", "/proc/self/fd/0"] {
            let text = format!("[device]\ncert_path = \"{path}\"\n");
            std::fs::write(dir.path().join("tedge.toml"), text).unwrap();
            let error = read_certificate_path(dir.path()).unwrap_err().to_string();
            assert!(error.contains("tedge.toml, line 2: "), "{error}");
        }
    }

    #[test]
    fn only_what_concerns_keys_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tedge.toml");
        std::fs::write(
            &path,
            "[device]\nid = \"x\"\ncert_path = \"/c.pem\"\n[device.cryptoki]\nuri = \"pkcs11:\"\n\
             [c8y]\nurl = \"example.com\"\nroot_cert_path = \"/r\"\nsmartrest.templates = [\"a\"]\n",
        )
        .unwrap();
        assert_eq!(read_cryptoki(&path).unwrap().uri.unwrap(), "pkcs11:");
        let connections = read_connections(&path).unwrap();
        assert_eq!(connections.c8y.url.unwrap(), "example.com");
        assert_eq!(connections.c8y.root_cert_path.unwrap(), Path::new("/r"));
        assert_eq!(connections.device.cert_path.unwrap(), Path::new("/c.pem"));
        assert!(connections.aws.url.is_none());
    }
}
