//! The proxy that clouds are connected to through: by the bridge's own file, else by thin-edge.io's tedge.toml.
//! Variables of the environment are not looked at.

use std::path::Path;

use tedge_p11_config::read_proxy;
use tedge_proxy::{NoProxy, Password, Proxy, ProxySettings, SettingsError};

use super::file;
use super::mistake::{Mistake, mistake};

/// The table `[proxy]` of the bridge's own file. An empty address says that there is none.
pub(super) fn own(table: &file::Proxy) -> Result<ProxySettings, Mistake> {
    if table.address.get_ref().is_empty() {
        return Ok(ProxySettings::default());
    }
    let password = table.password_file.clone().map(Password::File);
    let proxy = Proxy::parse(table.address.get_ref(), table.username.clone(), password).map_err(
        |error| match error {
            SettingsError::Half => {
                mistake(&table.address, "username and password_file go together")
            }
            error => mistake(&table.address, error.to_string()),
        },
    )?;
    Ok(ProxySettings::new(proxy, NoProxy::parse(&table.no_proxy)))
}

/// The table `[proxy]` of the tedge.toml in `folder`; or why there is one that can't be used.
pub(super) fn of_tedge_toml(folder: &Path) -> Result<ProxySettings, String> {
    let path = folder.join("tedge.toml");
    let mut table = read_proxy(&path).map_err(|error| error.to_string())?;
    let Some(address) = table.address.take() else {
        return Ok(ProxySettings::default());
    };
    let password = table.password().map(Password::Text);
    let proxy = Proxy::parse(&address, table.username.take(), password)
        .map_err(|error| format!("{}, [proxy]: {error}", path.display()))?;
    let no_proxy = table.no_proxy.as_deref().unwrap_or_default();
    Ok(ProxySettings::new(proxy, NoProxy::parse(no_proxy)))
}
