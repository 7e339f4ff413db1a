//! A slot's token, as both kinds of frames have it.

use crate::codec::wire_struct;

wire_struct! {
    /// A slot's token.
    TokenEntry {
        /// `CK_SLOT_ID`.
        slot: u64,
        /// Token label.
        label: String,
        /// Token model.
        model: String,
        /// Token manufacturer.
        manufacturer: String,
        /// Token serial number.
        serial: String,
        /// `CKF_TOKEN_INITIALIZED`.
        initialized: bool,
        /// RFC 7512 URI of the token.
        uri: String,
    }
}
