//! Where the keys are, as the options that all commands share have it.

use std::path::PathBuf;

use anyhow::Context as _;
use tedge_p11_client::DEFAULT_SOCKET_PATH;

use crate::profile::Profile;
use crate::root::Root;

/// Where the keys are.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Socket of tedge-p11-server
    #[arg(
        long, global = true, help_heading = "Global options", value_name = "PATH",
        env = "TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", default_value = DEFAULT_SOCKET_PATH
    )]
    pub(crate) socket_path: PathBuf,

    /// Use this PKCS#11 module directly, without tedge-p11-server
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "PATH"
    )]
    pub(crate) module_path: Option<PathBuf>,

    /// Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs
    #[arg(long, global = true, help_heading = "Global options", value_name = "NAME", value_parser = Profile::parse)]
    pub(crate) hsm: Option<&'static Profile>,

    /// File with the user PIN, for commands that need it
    #[arg(long, help_heading = "Global options", value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}

impl Place {
    /// Does what `--hsm` asks for: takes the module of that HSM, unless one is given, and sees to the
    /// module's environment.
    pub(crate) fn choose_hsm(&mut self) -> anyhow::Result<()> {
        let Some(profile) = self.hsm else {
            return Ok(());
        };
        if self.module_path.is_none() {
            self.module_path = Some(
                profile
                    .module()
                    .with_context(|| profile.not_installed(&Root::default()))?,
            );
        }
        profile.provide_environment()
    }
}
