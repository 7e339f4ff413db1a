//! What `setup` was asked for, and where.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tedge_p11_client::Uri;

use super::settings::Settings;
use crate::machine_id;
use crate::names::Names;
use crate::place::Place;
use crate::profile::{Made, Profile};
use crate::root::Root;
use crate::store::Store;

/// The steps go by this.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The kind of HSM; without one the signer is configured already, as in an image of Yocto's.
    pub(super) profile: Option<&'static Profile>,
    /// Its module, as the machine has it.
    pub(super) module: PathBuf,
    pub(super) root: Root,
    pub(super) wanted: Wanted,
    place: Place,
}

/// What there is to be in the end.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) settings: Settings,
    /// Where the request or the certificate is to be, if not in the state folder.
    pub(crate) output: Option<PathBuf>,
    pub(crate) so_pin_file: Option<PathBuf>,
}

impl Setup {
    /// Finds the HSM's module; fails if it or the HSM is not there.
    pub(crate) fn new(mut place: Place, root: Root, wanted: Wanted) -> anyhow::Result<Self> {
        let profile = place.hsm;
        let module = match (profile, place.module_path.take()) {
            (_, Some(module)) => module,
            (Some(profile), None) => profile
                .module_in(&root)
                .with_context(|| profile.not_installed(&root))?,
            (None, None) => PathBuf::new(),
        };
        let setup = Self {
            profile,
            module,
            root,
            wanted,
            place,
        };
        setup.names()?;
        if setup.is_machine() {
            if !Path::new("/run/systemd/system").exists() {
                bail!("systemd does not run here; --root DIR prepares the files of an image");
            }
            setup.check_nodes()?;
        }
        Ok(setup)
    }

    /// Whether it is this machine that is set up, not the files of an image.
    pub(super) fn is_machine(&self) -> bool {
        self.root.is_machine()
    }

    /// The signer.
    pub(super) fn store(&self) -> anyhow::Result<Store> {
        Store::open(&self.place)
    }

    pub(super) fn pin_file(&self) -> Option<&Path> {
        self.place.pin_file.as_deref()
    }

    /// Who makes the token: one without a profile is made as `init` does it.
    pub(super) fn token_made(&self) -> Made {
        self.profile.map_or(Made::Here, |profile| profile.token)
    }

    pub(super) fn key_made(&self) -> Made {
        self.profile.map_or(Made::Here, |profile| profile.key)
    }

    /// The URI of the token that has the label.
    pub(super) fn labelled_token(&self) -> anyhow::Result<Option<String>> {
        let label = &self.wanted.settings.token;
        let mut tokens = self.store()?.tokens()?.into_iter();
        let token = tokens.find(|token| token.initialized && token.label == *label);
        Ok(token.map(|token| token.uri))
    }

    /// The token's URI; the empty one where a vendor's tool has named the token.
    pub(super) fn token_uri(&self) -> Uri {
        match self.token_made() {
            Made::Here | Made::Before(_) => Uri {
                token: Some(self.wanted.settings.token.clone()),
                ..Uri::default()
            },
            Made::By(_) => Uri::default(),
        }
    }

    /// What tedge.toml confines clients to, if to anything.
    pub(super) fn confined_to(&self) -> Option<Uri> {
        let uri = match (self.token_made(), self.key_made()) {
            (Made::Here | Made::Before(_), _) => self.token_uri(),
            (Made::By(_), Made::Here) => return None,
            (Made::By(_), Made::By(_) | Made::Before(_)) => Uri {
                id: Some(PIV_AUTHENTICATION.to_vec()),
                ..Uri::default()
            },
        };
        Some(uri)
    }

    /// Whether somebody has said what name the certificate is to have.
    pub(super) fn is_named(&self) -> bool {
        self.wanted.settings.common_name.is_some()
    }

    /// The names for the certificate.
    pub(super) fn names(&self) -> anyhow::Result<Names> {
        let name = self.wanted.settings.common_name.as_deref();
        let name = name.unwrap_or(machine_id::NAME);
        let name = if self.is_machine() {
            machine_id::put_in(name, &self.root)?
        } else {
            name.to_owned()
        };
        Names::new(&name, None, Vec::new())
    }

    /// The machine's id, as the first run found it.
    pub(super) fn machine_id(&self) -> anyhow::Result<String> {
        machine_id::read(&self.root)
    }

    /// Where the first run has put it.
    pub(super) fn machine_id_file(&self) -> PathBuf {
        machine_id::kept_path(&self.root)
    }

    /// The devices that the HSM's module or service opens.
    fn check_nodes(&self) -> anyhow::Result<()> {
        let Some(profile) = self.profile else {
            return Ok(());
        };
        for node in profile.nodes {
            if profile.set_elsewhere(node).is_none() && !self.root.path(node.path).exists() {
                bail!("there is no {}: {}", node.path, node.if_missing);
            }
        }
        Ok(())
    }
}

/// Slot 9A, as OpenSC names its key (NIST SP 800-73-4, table 4b; PKCS#11 `CKA_ID`).
pub(super) const PIV_AUTHENTICATION: [u8; 1] = [1];
