//! The folders where systemd finds the signer's PIN (systemd.exec(5), `LoadCredential=`).

/// Where PINs are, in files of root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinStore {
    /// Those that `systemd-creds` has sealed.
    pub(crate) sealed: &'static str,
    pub(crate) plain: &'static str,
}

/// systemd's own.
pub(crate) const ETC: PinStore = PinStore {
    sealed: "/etc/credstore.encrypted",
    plain: "/etc/credstore",
};
/// Where /etc is read-only. Links that systemd-tmpfiles makes at each boot, in /run/credstore.encrypted and
/// /run/credstore, lead there: an absolute path in the unit would be an error as long as there is no file.
pub(crate) const STATE: PinStore = PinStore {
    sealed: "/var/lib/tedge-hsm/credstore.encrypted",
    plain: "/var/lib/tedge-hsm/credstore",
};
/// systemd takes the first.
pub(crate) const PIN_STORES: [PinStore; 2] = [ETC, STATE];
/// Of the signer's PIN.
pub(crate) const SIGNER_PIN: &str = "tedge-p11-server.pin";
/// Of the security officer's.
pub(crate) const SO_PIN: &str = "tedge-hsm.so-pin";
/// The link to it.
pub(crate) const SEALED_PIN_LINK: &str = "/run/credstore.encrypted/tedge-p11-server.pin";
/// What makes the links.
pub(crate) const TMPFILES: &str = "tedge-p11-server.conf";
