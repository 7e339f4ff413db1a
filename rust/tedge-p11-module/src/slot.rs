//! Slots: places for the signer's tokens, numbered in the order that they were first seen in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;
use tedge_p11_client::Pin;
use tedge_p11_protocol::MODULE_MANUFACTURER;

use crate::rv::{Result, Rv};
use crate::signer::Token;

/// A slot. Its number is this process's own: the signer's can be too large for a 32-bit program.
pub(crate) struct Slot {
    pub(crate) id: CK_SLOT_ID,
    state: Mutex<State>,
}

struct State {
    token: Option<Token>,
    /// The signer's slot, also while no token is in it.
    place: Option<u64>,
    /// Why there is no token, for C_GetSlotInfo.
    absent: String,
    login: Login,
}

/// Who is logged in, in all sessions of the process at once (PKCS#11 3.0, section 5.6.8).
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Login {
    #[default]
    Nobody,
    /// With the PIN that goes along with requests, where the signer has none itself.
    User(Option<Pin>),
    SecurityOfficer(Pin),
}

impl Slot {
    /// What is in it now.
    pub(crate) fn token(&self) -> Result<Token> {
        self.lock().token.clone().ok_or(Rv(CKR_TOKEN_NOT_PRESENT))
    }

    pub(crate) fn is_present(&self) -> bool {
        self.lock().token.is_some()
    }

    pub(crate) fn login(&self) -> Login {
        self.lock().login.clone()
    }

    pub(crate) fn set_login(&self, login: Login) {
        self.lock().login = login;
    }

    /// The PIN that goes along with requests.
    pub(crate) fn pin(&self) -> Option<Pin> {
        match &self.lock().login {
            Login::User(pin) => pin.clone(),
            _ => None,
        }
    }

    /// What C_GetSlotInfo returns.
    pub(crate) fn info(&self) -> CK_SLOT_INFO {
        let state = self.lock();
        let (description, present) = match &state.token {
            Some(token) if !token.entry.initialized => ("blank token", true),
            Some(token) => (token.entry.label.as_str(), true),
            None => (state.absent.as_str(), false),
        };
        let present = if present { CKF_TOKEN_PRESENT } else { 0 };
        CK_SLOT_INFO {
            slotDescription: padded(&format!("tedge-p11-server: {description}")),
            manufacturerID: padded(MODULE_MANUFACTURER),
            flags: CKF_REMOVABLE_DEVICE | CKF_HW_SLOT | present,
            hardwareVersion: NO_VERSION,
            firmwareVersion: NO_VERSION,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What C_GetTokenInfo returns, with so many sessions open.
pub(crate) fn token_info(token: &Token, sessions: usize, rw_sessions: usize) -> CK_TOKEN_INFO {
    let entry = &token.entry;
    let mut flags = CKF_RNG;
    if entry.initialized {
        flags |= CKF_TOKEN_INITIALIZED;
    }
    if token.has_user_pin {
        flags |= CKF_USER_PIN_INITIALIZED;
    }
    if token.needs_pin {
        flags |= CKF_LOGIN_REQUIRED;
    }
    CK_TOKEN_INFO {
        label: padded(&entry.label),
        manufacturerID: padded(&entry.manufacturer),
        model: padded(&entry.model),
        serialNumber: padded(&entry.serial),
        flags,
        ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
        ulSessionCount: sessions as CK_ULONG,
        ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: rw_sessions as CK_ULONG,
        ulMaxPinLen: MAX_PIN_LEN as CK_ULONG,
        ulMinPinLen: 1,
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: NO_VERSION,
        firmwareVersion: NO_VERSION,
        utcTime: padded(""),
    }
}

/// The slots after the signer was asked for its tokens: each keeps its number, and none goes away.
pub(crate) fn update(slots: &mut Vec<Arc<Slot>>, tokens: std::result::Result<Vec<Token>, String>) {
    let (tokens, absent) = match tokens {
        Ok(tokens) => (tokens, "no token".to_owned()),
        Err(reason) => (Vec::new(), reason),
    };
    for slot in slots.iter() {
        let mut state = slot.lock();
        let place = state.place;
        let found = tokens.iter().find(|token| Some(token.entry.slot) == place);
        // Another one is in its place: nobody is logged in there.
        let same = |old: &Token| found.is_some_and(|new| new.entry.serial == old.entry.serial);
        if !state.token.as_ref().is_some_and(same) {
            state.login = Login::Nobody;
        }
        state.token = found.cloned();
        state.absent.clone_from(&absent);
    }
    for token in tokens {
        let place = Some(token.entry.slot);
        if slots.iter().any(|slot| slot.lock().place == place) {
            continue;
        }
        // One that was made while there was no signer takes the first token.
        if let Some(blank) = slots.iter().find(|slot| slot.lock().place.is_none()) {
            let mut state = blank.lock();
            (state.place, state.token) = (place, Some(token));
            continue;
        }
        slots.push(Slot::new(slots.len(), Some(token), String::new()));
    }
    // A person who lists the slots is told why nothing is there.
    if slots.is_empty() {
        slots.push(Slot::new(0, None, absent));
    }
}

impl Slot {
    fn new(id: usize, token: Option<Token>, absent: String) -> Arc<Self> {
        let place = token.as_ref().map(|token| token.entry.slot);
        let login = Login::Nobody;
        let state = State {
            token,
            place,
            absent,
            login,
        };
        Arc::new(Self {
            id: id as CK_SLOT_ID,
            state: Mutex::new(state),
        })
    }
}

/// Text as PKCS#11 has it: cut at the end of a character, and filled up with blanks.
pub(crate) fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
    let mut field = [b' '; LEN];
    let mut end = text.len().min(LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
    field
}

/// Longest PIN in bytes; no token takes a longer one.
pub(crate) const MAX_PIN_LEN: usize = 255;
const NO_VERSION: CK_VERSION = CK_VERSION { major: 0, minor: 0 };

#[cfg(test)]
mod tests {
    use tedge_p11_client::TokenEntry;

    use super::*;

    fn token(slot: u64, serial: &str) -> Token {
        Token {
            entry: TokenEntry {
                slot,
                label: format!("token {serial}"),
                model: String::new(),
                manufacturer: String::new(),
                serial: serial.to_owned(),
                initialized: true,
                uri: format!("pkcs11:serial={serial}"),
            },
            uri: format!("pkcs11:serial={serial}").parse().unwrap(),
            needs_pin: false,
            has_user_pin: true,
            digests: false,
        }
    }

    #[test]
    fn slots_keep_their_numbers() {
        let mut slots = Vec::new();
        update(&mut slots, Err("no signer".to_owned()));
        assert_eq!(slots.len(), 1);
        let description = slots[0].info().slotDescription;
        assert!(description.starts_with(b"tedge-p11-server: no signer  "));
        update(&mut slots, Ok(vec![token(u64::MAX, "1"), token(7, "2")]));
        let serials = |slots: &[Arc<Slot>]| -> Vec<_> {
            let serial = |slot: &Arc<Slot>| slot.token().ok().map(|token| token.entry.serial);
            slots.iter().map(serial).collect()
        };
        assert_eq!(
            serials(&slots),
            [Some("1".to_owned()), Some("2".to_owned())]
        );
        slots[1].set_login(Login::User(None));
        update(&mut slots, Ok(vec![token(7, "2"), token(8, "3")]));
        assert_eq!(
            serials(&slots),
            [None, Some("2".to_owned()), Some("3".to_owned())]
        );
        assert!(slots[1].login() == Login::User(None));
        update(&mut slots, Ok(vec![token(7, "4")]));
        assert!(slots[1].login() == Login::Nobody);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(padded::<4>("ab"), *b"ab  ");
        assert_eq!(padded::<3>("aöö"), *"aö".as_bytes());
        assert_eq!(padded::<4>("aöö"), *"aö ".as_bytes());
    }
}
