//! What is known of modules that do not do as the standard says, or that do more than it asks for.

use cryptoki::context::Pkcs11;

use crate::token_info::unpadded;

/// How a module behaves, told by its name (`CK_INFO.manufacturerID`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quirks {
    is_tpm2_pkcs11: bool,
    is_softhsm: bool,
}

impl Quirks {
    /// Of the module, which is initialised. A module that does not tell its name has none.
    pub(crate) fn of(pkcs11: &Pkcs11) -> Self {
        let info = pkcs11.get_library_info();
        let is_of = |maker| {
            info.as_ref()
                .is_ok_and(|info| unpadded(info.manufacturer_id()) == maker)
        };
        Self {
            is_tpm2_pkcs11: is_of("tpm2-software.github.io"),
            is_softhsm: is_of("SoftHSM"),
        }
    }

    /// Whether the module gives the handle of an object that is there to a new one, once an object was
    /// deleted, as libtpm2_pkcs11 1.9 does.
    pub(crate) fn mixes_up_handles(self) -> bool {
        self.is_tpm2_pkcs11
    }

    /// Whether the module sees what other programs make in its store only when it is initialised, as
    /// libtpm2_pkcs11 does.
    pub(crate) fn reads_its_store_once(self) -> bool {
        self.is_tpm2_pkcs11
    }

    /// Whether each key that was used or made stays loaded until the module logs out, as with libtpm2_pkcs11. A
    /// TPM has room for three objects, the parent of a new key and that key among them.
    pub(crate) fn keeps_keys_loaded(self) -> bool {
        self.is_tpm2_pkcs11
    }

    /// Whether the module's tokens never lock themselves, however many PINs are wrong. SoftHSM2 counts none.
    pub(crate) fn never_locks(self) -> bool {
        self.is_softhsm
    }

    /// Whether a key that is to sign must have CKA_DECRYPT. libtpm2_pkcs11 pads RSA signatures itself and has the
    /// TPM "decrypt" them. It refuses a key without CKA_DECRYPT only after the TPM has made the key, which can
    /// take half a minute.
    pub(crate) fn signs_by_decrypting(self) -> bool {
        self.is_tpm2_pkcs11
    }
}
