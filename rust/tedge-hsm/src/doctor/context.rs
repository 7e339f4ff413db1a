//! What the checks go by, and what they share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tedge_p11_client::{DEFAULT_SOCKET_PATH, Uri};
use tedge_p11_config::{
    Cryptoki, DEFAULT_CERTIFICATE, DEFAULT_CONFIG_DIR, ROOT_DIR, TomlError, bridge_path,
    policy_path, read_certificate_path, read_cryptoki,
};

use super::args::Args;
use crate::place::Place;
use crate::profile::Profile;
use crate::root::Root;

/// What the checks go by.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) place: &'a Place,
    pub(crate) args: Args,
    pub(crate) root: Root,
    /// The kind of HSM, if `--hsm` or the module tells.
    pub(crate) profile: Option<&'static Profile>,
    /// By flag, else by HSM, else by environment, else by tedge.toml.
    pub(super) module_path: Option<PathBuf>,
    /// Whether tedge.toml named it.
    pub(super) module_is_configured: bool,
    pub(crate) config_dir: PathBuf,
    pub(crate) policy_path: PathBuf,
    pub(super) cryptoki: Result<Cryptoki, TomlError>,
    pub(crate) limit: Duration,
}

impl<'a> Context<'a> {
    pub(crate) fn new(place: &'a Place, mut args: Args) -> Self {
        let root = args
            .root
            .take()
            .map(|dir| Root::new(&dir))
            .unwrap_or_default();
        let given = args.config_dir.take();
        let default = root.path(DEFAULT_CONFIG_DIR);
        let policy_path = policy_path(given.as_deref(), &root.path(ROOT_DIR), &default);
        let config_dir = given.unwrap_or(default);
        let cryptoki = read_cryptoki(&config_dir.join("tedge.toml"));
        let configured = cryptoki.as_ref().ok().and_then(|c| c.module_path.clone());
        let given = place
            .module_path
            .clone()
            .or_else(|| place.hsm.and_then(Profile::module))
            .or_else(|| set(std::env::var("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH").ok()));
        let module_is_configured = given.is_none();
        let module_path = given.or_else(|| set(configured));
        let of_module = || Profile::of_module(module_path.as_deref()?, &root);
        Self {
            profile: place.hsm.or_else(of_module),
            limit: Duration::from_secs(args.timeout),
            place,
            args,
            root,
            module_path,
            module_is_configured,
            config_dir,
            policy_path,
            cryptoki,
        }
    }

    /// Where the bridge's configuration is.
    pub(crate) fn bridge_path(&self) -> PathBuf {
        bridge_path(&self.root.path(ROOT_DIR), &self.config_dir)
    }

    /// Whether this process is to use the module itself, not only the signer. `--hsm` alone tells what
    /// to look for.
    pub(super) fn is_straight(&self) -> bool {
        self.place.module_path.is_some() || self.args.login
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        let default = PathBuf::from(DEFAULT_SOCKET_PATH);
        if self.place.socket_path != default {
            return self.place.socket_path.clone();
        }
        let configured = self
            .cryptoki
            .as_ref()
            .ok()
            .and_then(|c| c.socket_path.clone());
        self.root.path(set(configured).unwrap_or(default))
    }

    /// The file with the device's certificate: by `--cert`, else by tedge.toml.
    pub(crate) fn certificate(&self) -> PathBuf {
        let configured = || read_certificate_path(&self.config_dir);
        let default = |_| self.config_dir.join(DEFAULT_CERTIFICATE);
        let given = self.args.cert.clone();
        given.unwrap_or_else(|| configured().unwrap_or_else(default))
    }

    /// Whether the signer looked for is the machine's own.
    pub(super) fn has_default_socket(&self) -> bool {
        self.socket_path() == self.root.path(DEFAULT_SOCKET_PATH)
    }

    /// What is looked at: by `--uri`, else by tedge.toml. Without a PIN.
    pub(super) fn uri(&self) -> Option<Uri> {
        let configured = || {
            let uri = self.cryptoki.as_ref().ok()?.uri.as_deref()?;
            uri.parse().ok()
        };
        let mut uri: Uri = self.args.uri.clone().or_else(configured)?;
        uri.pin = None;
        Some(uri)
    }
}

/// A private key that signs.
pub(super) type Key = Arc<dyn tedge_p11_client::PrivateKey>;

/// Calls a module, which may never return, in a thread of its own; `None` if it did not in time. The
/// thread then lives until the process ends.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more if this fails.
        let _ = sender.send(call());
    });
    receiver.recv_timeout(limit).ok()
}

/// An empty value counts as unset.
fn set<T: Into<PathBuf>>(value: Option<T>) -> Option<PathBuf> {
    value
        .map(Into::into)
        .filter(|value: &PathBuf| !value.as_os_str().is_empty())
}
