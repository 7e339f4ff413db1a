//! What the signer is told: flags, then environment, then tedge.toml.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use tedge_p11_config::{
    DEFAULT_CONFIG_DIR, ROOT_DIR, TomlError, policy_path, read_certificate_path, read_cryptoki,
};
use tedge_p11_protocol::{DEFAULT_SOCKET_PATH, Pin, PinError, PinSource, Uri, UriError};

use crate::args::Args;

/// All settings, parsed.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) socket_path: PathBuf,
    pub(crate) module_path: PathBuf,
    pub(crate) policy_path: PathBuf,
    /// Without a PIN in it: that is in `pin`.
    pub(crate) uri: Option<Uri>,
    pub(crate) pin: Option<Pin>,
    /// File with the device's certificate.
    pub(crate) certificate: PathBuf,
    pub(crate) log_level: LevelFilter,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(
        "no PKCS#11 module is configured; set it with --module-path, \
         TEDGE_DEVICE_CRYPTOKI_MODULE_PATH or device.cryptoki.module_path in {0}"
    )]
    NoModule(PathBuf),
    #[error(transparent)]
    File(#[from] TomlError),
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    Pin(#[from] PinError),
}

impl Settings {
    /// `env` looks up an environment variable. The PIN comes from the flag, the environment, the
    /// systemd credential `pin`, tedge.toml or the configured URI, the first of these that has one.
    pub(crate) fn load(
        args: &Args,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let env = |name: &str| set(env(name));
        let path = |path: &Option<OsString>| {
            let path = path.as_ref().filter(|path| !path.is_empty());
            path.map(PathBuf::from)
        };
        let config_dir =
            path(&args.config_dir).or_else(|| env("TEDGE_CONFIG_DIR").map(PathBuf::from));
        let default = Path::new(DEFAULT_CONFIG_DIR);
        let policy_path = policy_path(config_dir.as_deref(), ROOT_DIR.as_ref(), default);
        let config_dir = config_dir.unwrap_or_else(|| default.to_owned());
        let config_file = config_dir.join("tedge.toml");
        let file = read_cryptoki(&config_file)?;
        let certificate = env("TEDGE_DEVICE_CERT_PATH")
            .map(PathBuf::from)
            .unwrap_or(read_certificate_path(&config_dir)?);
        let module_path = path(&args.module_path)
            .or_else(|| env("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH").map(PathBuf::from))
            .or_else(|| set(file.module_path).map(PathBuf::from))
            .ok_or(SettingsError::NoModule(config_file))?;
        let socket_path = path(&args.socket_path)
            .or_else(|| env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH").map(PathBuf::from))
            .or_else(|| set(file.socket_path).map(PathBuf::from))
            .unwrap_or_else(|| DEFAULT_SOCKET_PATH.into());
        let mut uri: Option<Uri> = set(args.uri.clone())
            .or_else(|| env("TEDGE_DEVICE_CRYPTOKI_URI"))
            .or_else(|| set(file.uri))
            .map(|uri| uri.parse())
            .transpose()?;
        let uri_pin = uri.as_mut().and_then(|uri| uri.pin.take());
        let credential = env("CREDENTIALS_DIRECTORY")
            .map(|dir| Path::new(&dir).join("pin"))
            .filter(|path| path.exists());
        let pin = set(args.pin.clone()).or_else(|| env("TEDGE_DEVICE_CRYPTOKI_PIN"));
        let pin = if let Some(pin) = pin {
            Some(Pin::new(pin)?)
        } else if let Some(credential) = credential {
            Some(Pin::read_credential(&credential)?)
        } else if let Some(pin) = set(file.pin) {
            Some(Pin::new(pin)?)
        } else {
            match uri_pin {
                Some(PinSource::File(path)) => Some(Pin::read_file(&path)?),
                Some(PinSource::Value(pin)) => Some(pin),
                None => None,
            }
        };
        Ok(Self {
            socket_path,
            module_path,
            policy_path,
            uri,
            pin,
            certificate,
            log_level: args.log_level.unwrap_or(LevelFilter::Info),
        })
    }
}

/// An empty value counts as unset.
fn set(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[device]\nid = \"x\"\n[device.cryptoki]\nmode = \"socket\"\n\
        module_path = \"file.so\"\npin = \"file\"\nuri = \"pkcs11:token=file\"\n\
        socket_path = \"/file.sock\"\n[c8y]\nurl = \"example.com\"\n";

    fn load(file: &str, env: &[(&str, &str)], args: Args) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tedge.toml"), file).unwrap();
        let args = Args {
            config_dir: Some(dir.path().into()),
            ..args
        };
        Settings::load(&args, |name| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flag_wins_over_environment_wins_over_file() {
        let env = [
            ("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH", "env.so"),
            ("TEDGE_DEVICE_CRYPTOKI_PIN", "env"),
            ("TEDGE_DEVICE_CRYPTOKI_URI", "pkcs11:token=env"),
            ("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", "/env.sock"),
        ];
        let args = || Args {
            module_path: Some("flag.so".into()),
            pin: Some("flag".into()),
            uri: Some("pkcs11:token=flag".into()),
            socket_path: Some("/flag.sock".into()),
            ..Args::default()
        };
        for (settings, from) in [
            (load(FILE, &env, args()), "flag"),
            (load(FILE, &env, Args::default()), "env"),
            (load(FILE, &[], Args::default()), "file"),
        ] {
            let settings = settings.unwrap();
            assert_eq!(settings.module_path, Path::new(&format!("{from}.so")));
            assert_eq!(settings.socket_path, Path::new(&format!("/{from}.sock")));
            assert_eq!(settings.pin.unwrap().expose(), from);
            assert_eq!(settings.uri.unwrap().token.as_deref(), Some(from));
        }
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        let env = [
            ("TEDGE_DEVICE_CRYPTOKI_PIN", ""),
            ("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH", ""),
        ];
        let args = Args {
            uri: Some(String::new()),
            socket_path: Some(OsString::new()),
            ..Args::default()
        };
        let settings = load(FILE, &env, args).unwrap();
        assert_eq!(settings.pin.unwrap().expose(), "file");
        assert_eq!(settings.module_path, Path::new("file.so"));
        assert_eq!(settings.uri.unwrap().token.as_deref(), Some("file"));
        assert_eq!(settings.socket_path, Path::new("/file.sock"));
    }

    #[test]
    fn the_certificate_is_where_thin_edge_has_it() {
        let file = "[device]\ncert_path = \"/c.pem\"\ncryptoki.module_path = \"m.so\"\n";
        let env = [("TEDGE_DEVICE_CERT_PATH", "/env.pem")];
        let path = |file, env| load(file, env, Args::default()).unwrap().certificate;
        assert_eq!(path(file, &env), Path::new("/env.pem"));
        assert_eq!(path(file, &[]), Path::new("/c.pem"));
        assert!(path(FILE, &[]).ends_with("device-certs/tedge-certificate.pem"));
    }

    #[test]
    fn no_pin_is_made_up() {
        let settings = load(
            "[device.cryptoki]\nmodule_path = \"x.so\"",
            &[],
            Args::default(),
        );
        let settings = settings.unwrap();
        assert!(settings.pin.is_none());
        assert_eq!(settings.socket_path, Path::new(DEFAULT_SOCKET_PATH));
    }

    #[test]
    fn a_bad_file_is_named_with_its_line_but_not_quoted() {
        let error = load(
            "[device.cryptoki]\npin = \"1234\" x\n",
            &[],
            Args::default(),
        );
        let text = error.unwrap_err().to_string();
        assert!(text.contains("tedge.toml, line 2: "), "{text}");
        assert!(!text.contains("1234"), "{text}");
    }

    #[test]
    fn the_pin_of_the_uri_is_used_and_taken_out() {
        let args = Args {
            module_path: Some("x.so".into()),
            uri: Some("pkcs11:token=t?pin-value=12%2534".into()),
            ..Args::default()
        };
        let settings = load("", &[], args).unwrap();
        assert_eq!(settings.pin.unwrap().expose(), "12%34");
        assert!(settings.uri.unwrap().pin.is_none());
    }
}
