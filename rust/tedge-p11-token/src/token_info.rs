//! What a token says of itself.

use cryptoki::context::Pkcs11;
use cryptoki::slot::Slot;
use tedge_p11_protocol::Uri;

/// What a token says of itself (`CK_TOKEN_INFO`), and the slot it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are the flags of CK_TOKEN_INFO
pub struct TokenInfo {
    /// `CK_SLOT_ID`.
    pub slot: u64,
    /// Label, without its padding.
    pub label: String,
    /// Model.
    pub model: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Serial number.
    pub serial: String,
    /// `CKF_TOKEN_INITIALIZED`.
    pub initialized: bool,
    /// `CKF_USER_PIN_INITIALIZED`.
    pub user_pin_initialized: bool,
    /// `CKF_LOGIN_REQUIRED`.
    pub login_required: bool,
    /// `CKF_PROTECTED_AUTHENTICATION_PATH`: the PIN is typed into the token's reader.
    pub protected_authentication_path: bool,
    /// URI of the token.
    pub uri: Uri,
}

impl TokenInfo {
    pub(crate) fn read(pkcs11: &Pkcs11, slot: Slot) -> cryptoki::error::Result<Self> {
        let info = pkcs11.get_token_info(slot)?;
        // Blanks are padding by the standard. libtpm2_pkcs11 pads with NUL: other tools take that for
        // content, so it stays in the URI.
        let exact = |text: &str| Some(text.trim_end_matches(' ').to_owned());
        let uri = Uri {
            token: exact(info.label()),
            model: exact(info.model()),
            manufacturer: exact(info.manufacturer_id()),
            serial: exact(info.serial_number()),
            ..Uri::default()
        };
        let text = |text: &str| unpadded(text).to_owned();
        Ok(Self {
            slot: slot.id(),
            label: text(info.label()),
            model: text(info.model()),
            manufacturer: text(info.manufacturer_id()),
            serial: text(info.serial_number()),
            initialized: info.token_initialized(),
            user_pin_initialized: info.user_pin_initialized(),
            login_required: info.login_required(),
            protected_authentication_path: info.protected_authentication_path(),
            uri,
        })
    }

    /// Whether the token has every attribute of `uri` that speaks of tokens.
    pub(crate) fn matches(&self, uri: &Uri) -> bool {
        let same = |wanted: &Option<String>, own: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| unpadded(wanted) == own)
        };
        same(&uri.token, &self.label)
            && same(&uri.model, &self.model)
            && same(&uri.manufacturer, &self.manufacturer)
            && same(&uri.serial, &self.serial)
            && uri.slot_id.is_none_or(|slot| slot == self.slot)
    }
}

/// A text of `CK_TOKEN_INFO` or the like without its padding.
pub(crate) fn unpadded(text: &str) -> &str {
    text.trim_end_matches(['\0', ' '])
}
