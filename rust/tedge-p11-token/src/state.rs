//! What slots and tokens say of themselves without a login: nothing here spends a try of a PIN.

use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::slot::Slot;
use tedge_p11_protocol::Uri;

use crate::call_error::CallError;
use crate::error::{Error, Result, TriesLeft};
use crate::module::Module;
use crate::token_info::unpadded;

/// A slot (`CK_SLOT_INFO`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// `CK_SLOT_ID`.
    pub slot: u64,
    /// What the module calls it: the name of a reader, perhaps.
    pub description: String,
    /// `CKF_TOKEN_PRESENT`.
    pub token_present: bool,
}

/// What a token says of its user PIN (flags of `CK_TOKEN_INFO`).
#[derive(Clone, Copy, Debug, Default)]
pub struct PinState {
    /// `CKF_USER_PIN_INITIALIZED`.
    pub initialized: bool,
    /// `CKF_USER_PIN_TO_BE_CHANGED`: it is the one that the token came with.
    pub to_be_changed: bool,
    /// Of the tries.
    pub tries: TriesLeft,
}

impl Module {
    /// All slots, with a token in them or not.
    pub fn slots(&self) -> Result<Vec<SlotState>> {
        self.attempt(|| {
            let failed = |error| Error::from(CallError::new(error, &Uri::default()));
            let slots = self.pkcs11().get_all_slots().map_err(failed)?;
            let mut states = Vec::new();
            for slot in slots {
                let info = self.pkcs11().get_slot_info(slot).map_err(failed)?;
                states.push(SlotState {
                    slot: slot.id(),
                    description: unpadded(info.slot_description()).to_owned(),
                    token_present: info.token_present(),
                });
            }
            Ok(states)
        })
    }

    /// The state of the user PIN of the token in `slot`, as it is now.
    pub fn pin_state(&self, slot: u64) -> Result<PinState> {
        self.attempt(|| {
            let info = self
                .pkcs11()
                .get_token_info(slot_of(slot)?)
                .map_err(|error| CallError::new(error, &slot_uri(slot)))?;
            Ok(PinState {
                initialized: info.user_pin_initialized(),
                to_be_changed: info.user_pin_to_be_changed(),
                tries: TriesLeft {
                    count_low: info.user_pin_count_low(),
                    final_try: info.user_pin_final_try(),
                    locked: info.user_pin_locked(),
                },
            })
        })
    }

    /// Those of the mechanisms that TLS needs which the token in `slot` signs with, by their `CKM_`
    /// names: first those of TLS 1.3, then those that only TLS 1.2 has a use for.
    pub fn signing_mechanisms(&self, slot: u64) -> Result<Vec<TlsMechanism>> {
        self.attempt(|| {
            let id = slot_of(slot)?;
            let mut found = Vec::new();
            for (mechanism, name, tls13) in MECHANISMS {
                match self.pkcs11().get_mechanism_info(id, mechanism) {
                    Ok(info) if info.sign() => found.push(TlsMechanism { name, tls13 }),
                    Ok(_) | Err(CryptokiError::Pkcs11(RvError::MechanismInvalid, _)) => {}
                    Err(error) => return Err(CallError::new(error, &slot_uri(slot)).into()),
                }
            }
            Ok(found)
        })
    }
}

/// A mechanism that TLS clients sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsMechanism {
    /// `CKM_` name.
    pub name: &'static str,
    /// Whether TLS 1.3 has a use for it.
    pub tls13: bool,
}

const MECHANISMS: [(MechanismType, &str, bool); 7] = [
    (MechanismType::ECDSA, "CKM_ECDSA", true),
    (MechanismType::EDDSA, "CKM_EDDSA", true),
    (MechanismType::RSA_PKCS_PSS, "CKM_RSA_PKCS_PSS", true),
    (
        MechanismType::SHA256_RSA_PKCS_PSS,
        "CKM_SHA256_RSA_PKCS_PSS",
        true,
    ),
    (
        MechanismType::SHA384_RSA_PKCS_PSS,
        "CKM_SHA384_RSA_PKCS_PSS",
        true,
    ),
    (MechanismType::RSA_PKCS, "CKM_RSA_PKCS", false),
    (MechanismType::SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS", false),
];

fn slot_of(slot: u64) -> Result<Slot> {
    Slot::try_from(slot).map_err(|error| CallError::new(error, &slot_uri(slot)).into())
}

fn slot_uri(slot: u64) -> Uri {
    Uri {
        slot_id: Some(slot),
        ..Uri::default()
    }
}
