//! What is to be made, by options or by the first boot's file.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;

use crate::key_type::KeyType;
use crate::settings_file::SettingsFile;

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Label of the token.
    pub(crate) token: String,
    /// Label of the key.
    pub(crate) key: String,
    pub(crate) key_type: KeyType,
    /// Of the certificate's subject, where `%m` is the machine's id; `None` if nobody has named it.
    pub(crate) common_name: Option<String>,
    pub(crate) certificate: Certificate,
    /// Whether the PIN may be sealed.
    pub(crate) seal: bool,
}

/// What the key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Certificate {
    /// A certificate signing request
    Csr,
    /// A certificate that the key issues for itself
    SelfSigned,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: "device".to_owned(),
            key: "tls".to_owned(),
            key_type: KeyType::P256,
            common_name: None,
            certificate: Certificate::Csr,
            seal: true,
        }
    }
}

impl Settings {
    /// Reads the first boot's file; what it does not set stays as it is by default.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = SettingsFile::read(path, &KNOWN)?;
        let failed = || path.display().to_string();
        let mut settings = Self::default();
        for (name, setting) in [("TOKEN", &mut settings.token), ("KEY", &mut settings.key)] {
            if let Some(value) = file.get(name) {
                value.clone_into(setting);
            }
        }
        settings.common_name = file.get("COMMON_NAME").map(ToOwned::to_owned);
        if let Some(value) = file.get("KEY_TYPE") {
            settings.key_type = one_of("KEY_TYPE", value).with_context(failed)?;
        }
        if let Some(value) = file.get("CERTIFICATE") {
            settings.certificate = one_of("CERTIFICATE", value).with_context(failed)?;
        }
        match file.get("SEAL") {
            None | Some("yes") => {}
            Some("no") => settings.seal = false,
            Some(_) => return Err(anyhow!("SEAL is one of yes, no")).with_context(failed),
        }
        Ok(settings)
    }
}

fn one_of<T: ValueEnum>(name: &str, value: &str) -> anyhow::Result<T> {
    T::from_str(value, false).map_err(|_| {
        let names: Vec<_> = T::value_variants()
            .iter()
            .filter_map(|variant| Some(variant.to_possible_value()?.get_name().to_owned()))
            .collect();
        anyhow!("{name} is one of {}", names.join(", "))
    })
}

const KNOWN: [&str; 6] = [
    "TOKEN",
    "KEY",
    "KEY_TYPE",
    "COMMON_NAME",
    "CERTIFICATE",
    "SEAL",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.conf");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_file_has_some_of_the_settings() {
        let text = "# A comment\nTOKEN=acme\n\nCOMMON_NAME=\"acme %m\"\nKEY_TYPE=rsa3072\n\
                    CERTIFICATE=self-signed\nKEY=\nSEAL=no\n";
        let expected = Settings {
            token: "acme".to_owned(),
            key_type: KeyType::Rsa3072,
            common_name: Some("acme %m".to_owned()),
            certificate: Certificate::SelfSigned,
            seal: false,
            ..Settings::default()
        };
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), Settings::default());
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (text, said) in [
            ("KEY_TYPE=p255", "KEY_TYPE is one of p256, p384"),
            ("CERTIFICATE=x", "CERTIFICATE is one of csr, self-signed"),
            ("SEAL=0", "SEAL is one of yes, no"),
            (
                "LD_PRELOAD=/x.so",
                "there is no such setting; known are TOKEN",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
