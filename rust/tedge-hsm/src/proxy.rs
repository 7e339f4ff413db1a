//! The proxy that connections go through: by options, else by tedge.toml, else, for a person, by the usual variables.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tedge_p11_config::{TomlError, read_proxy};
use tedge_proxy::{NoProxy, Password, Proxy, ProxySettings, from_environment};

use crate::output::note;
use crate::try_connect::config_dir;

/// The options of each command that connects.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Proxy")]
#[group(id = "proxies")]
pub(crate) struct Args {
    /// Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or '' for none [default: proxy.address of
    /// tedge.toml, else https_proxy or all_proxy of the environment]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// Log in to the proxy as this user
    #[arg(long, value_name = "NAME", requires_all = ["proxy", "proxy_password_file"])]
    proxy_user: Option<String>,

    /// File with the user's password for the proxy
    #[arg(long, value_name = "FILE", requires = "proxy_user")]
    proxy_password_file: Option<PathBuf>,

    /// Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; '*' means all
    #[arg(long, value_name = "LIST")]
    no_proxy: Option<String>,
}

/// Who runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunBy {
    /// A person, whose environment counts.
    Person,
    /// A unit: neither a variable nor a mistake in thin-edge.io's tedge.toml shall change where it connects to.
    Unit,
}

impl Args {
    /// The proxy, and what it is not for.
    pub(crate) fn settings(&self, run_by: RunBy) -> anyhow::Result<ProxySettings> {
        self.settings_in(&config_dir(), run_by)
    }

    /// The same with tedge.toml in another folder.
    pub(crate) fn settings_in(
        &self,
        config_dir: &Path,
        run_by: RunBy,
    ) -> anyhow::Result<ProxySettings> {
        let settings = match &self.proxy {
            Some(url) => self.given(url)?,
            None => otherwise(&config_dir.join("tedge.toml"), run_by)?,
        };
        Ok(match &self.no_proxy {
            Some(list) => settings.with_no_proxy(NoProxy::parse(list)),
            None => settings,
        })
    }

    fn given(&self, url: &str) -> anyhow::Result<ProxySettings> {
        if url.is_empty() {
            return Ok(ProxySettings::default());
        }
        let password = self.proxy_password_file.clone().map(Password::File);
        let proxy = Proxy::parse(url, self.proxy_user.clone(), password).context("--proxy")?;
        Ok(ProxySettings::new(proxy, NoProxy::default()))
    }
}

fn otherwise(tedge_toml: &Path, run_by: RunBy) -> anyhow::Result<ProxySettings> {
    match configured(tedge_toml) {
        Ok(Some(settings)) => return Ok(settings),
        Ok(None) => {}
        // A person who may not read it has connected without it before.
        Err(error) if run_by == RunBy::Unit || is_unreadable(&error) => {
            note(format_args!("no proxy is taken from tedge.toml: {error:#}"));
        }
        Err(error) => return Err(error.context("--proxy '' connects without a proxy")),
    }
    if run_by == RunBy::Unit {
        return Ok(ProxySettings::default());
    }
    match from_environment(|name| std::env::var_os(name)) {
        Ok(settings) => Ok(settings),
        Err((name, error)) => {
            bail!("the variable {name}: {error}; --proxy '' connects without a proxy")
        }
    }
}

/// By tedge.toml, if it names a proxy.
fn configured(path: &Path) -> anyhow::Result<Option<ProxySettings>> {
    let mut table = read_proxy(path)?;
    let Some(address) = &table.address else {
        return Ok(None);
    };
    let address = address.clone();
    let password = table.password().map(Password::Text);
    let proxy = Proxy::parse(&address, table.username.take(), password)
        .with_context(|| format!("{}, [proxy]", path.display()))?;
    let no_proxy = table.no_proxy.as_deref().unwrap_or_default();
    Ok(Some(ProxySettings::new(proxy, NoProxy::parse(no_proxy))))
}

fn is_unreadable(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(TomlError::Unreadable { .. }))
}
