//! Slots: places for the signer's tokens, numbered in the order that they were first seen in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cryptoki_sys::*;
use tedge_p11_client::Pin;
use tedge_p11_protocol::MODULE_MANUFACTURER;

use crate::debug;
use crate::rv::{Result, Rv};
use crate::signer::Token;

/// A slot. Its number is this process's own: the signer's can be too large for a 32-bit program.
pub(crate) struct Slot {
    pub(crate) id: CK_SLOT_ID,
    state: Mutex<State>,
}

struct State {
    /// What is in it, or was when the signer was last there.
    token: Option<Token>,
    /// The signer's slot, also while no token is in it.
    place: Option<u64>,
    /// Since when there is no token, by the signer's word.
    gone_since: Option<Instant>,
    /// Why there is no token or no signer, for C_GetSlotInfo.
    absent: Option<Arc<str>>,
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
    /// What is in it. While the signer is away, what was in it: sessions go on with that, and a request tells whether the
    /// signer is back.
    pub(crate) fn token(&self) -> Result<Token> {
        self.lock().token.clone().ok_or(Rv(CKR_TOKEN_NOT_PRESENT))
    }

    /// Whether the signer is there and has a token for it.
    pub(crate) fn is_present(&self) -> bool {
        self.lock().absent.is_none()
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
        let (description, present) = match (&state.absent, &state.token) {
            (Some(reason), _) => (&**reason, false),
            (None, None) => ("", false),
            (None, Some(token)) if !token.entry.initialized => ("blank token", true),
            (None, Some(token)) => (token.entry.label.as_str(), true),
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

/// The slots after the signer was asked for its tokens: each keeps its number. There are [`MAX_SLOTS`] at most; when
/// they are used up, another token is put into the slot that lost its own the longest ago, and in which no session is open.
pub(crate) fn update(slots: &mut Vec<Arc<Slot>>, tokens: std::result::Result<Vec<Token>, String>) {
    let tokens = match tokens {
        Ok(tokens) => tokens,
        Err(reason) => return signer_is_away(slots, reason.into()),
    };
    let mut by_place = HashMap::with_capacity(tokens.len());
    let mut tokens: Vec<_> = tokens.into_iter().map(Some).collect();
    for (index, token) in tokens.iter().flatten().enumerate() {
        by_place.entry(token.entry.slot).or_insert(index);
    }
    for slot in slots.iter() {
        let mut state = slot.lock();
        let index = state.place.and_then(|place| by_place.remove(&place));
        state.update(index.and_then(|index| tokens[index].take()));
    }
    // In the order of the answer; of two with one number the first.
    let new = |(index, token): (usize, Option<Token>)| {
        let token = token?;
        (by_place.get(&token.entry.slot) == Some(&index)).then_some(token)
    };
    let mut new = tokens.into_iter().enumerate().filter_map(new);
    // One that was made while there was no signer takes the first token.
    if let Some(blank) = slots.iter().find(|slot| slot.lock().place.is_none()) {
        blank.lock().put(new.next());
    }
    let room = MAX_SLOTS.saturating_sub(slots.len());
    for token in new.by_ref().take(room) {
        slots.push(Slot::new(slots.len(), Some(token), None));
    }
    let mut more = new.peekable();
    if more.peek().is_some() {
        for (slot, token) in without_use(slots).into_iter().zip(more.by_ref()) {
            slot.lock().put(Some(token));
        }
        let left_out = more.count();
        debug::log(format_args!(
            "{left_out} tokens are left out: there are {MAX_SLOTS} slots"
        ));
    }
    if slots.is_empty() {
        slots.push(Slot::new(0, None, Some(NO_TOKEN.into())));
    }
}

/// Nobody knows of a token that it is gone: who is logged in stays so, for when the signer is back.
fn signer_is_away(slots: &mut Vec<Arc<Slot>>, reason: Arc<str>) {
    for slot in slots.iter() {
        slot.lock().absent = Some(reason.clone());
    }
    // A person who lists the slots is told why nothing is there.
    if slots.is_empty() {
        slots.push(Slot::new(0, None, Some(reason)));
    }
}

/// The slots that have no token, and that no session has; first those that lost it the longest ago.
fn without_use(slots: &[Arc<Slot>]) -> Vec<Arc<Slot>> {
    // Sessions have their slot, and nobody else has it for longer than a call.
    let unused = slots.iter().filter(|slot| Arc::strong_count(slot) == 1);
    let since = |slot: &Arc<Slot>| Some((slot.lock().gone_since?, slot.clone()));
    let mut unused: Vec<_> = unused.filter_map(since).collect();
    unused.sort_by_key(|(since, _)| *since);
    unused.into_iter().map(|(_, slot)| slot).collect()
}

impl State {
    /// What the signer says of this slot's token.
    fn update(&mut self, found: Option<Token>) {
        // Another one is in its place: nobody is logged in there.
        let same = |old: &Token| {
            let new = found.as_ref();
            new.is_some_and(|new| new.entry.serial == old.entry.serial)
        };
        if !self.token.as_ref().is_some_and(same) {
            self.login = Login::Nobody;
        }
        self.gone_since = match &found {
            Some(_) => None,
            None => self.gone_since.or_else(|| Some(Instant::now())),
        };
        self.absent = found.is_none().then(|| NO_TOKEN.into());
        self.token = found;
    }

    /// Puts another token into the slot.
    fn put(&mut self, token: Option<Token>) {
        let Some(token) = token else { return };
        self.place = Some(token.entry.slot);
        self.token = Some(token);
        self.gone_since = None;
        self.absent = None;
        self.login = Login::Nobody;
    }
}

impl Slot {
    fn new(id: usize, token: Option<Token>, absent: Option<Arc<str>>) -> Arc<Self> {
        let state = State {
            place: token.as_ref().map(|token| token.entry.slot),
            gone_since: token.is_none().then(Instant::now),
            token,
            absent,
            login: Login::Nobody,
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
/// Of one process. The largest device has a few tokens; a signer that tells of more than these is out of order.
const MAX_SLOTS: usize = 256;
const NO_TOKEN: &str = "no token";
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
    fn a_signer_that_was_away_logs_nobody_out() {
        let mut slots = Vec::new();
        update(&mut slots, Ok(vec![token(7, "1")]));
        let pin = || Login::User(Pin::new("1234".to_owned()).ok());
        slots[0].set_login(pin());
        update(&mut slots, Err("no signer".to_owned()));
        assert!(!slots[0].is_present() && slots[0].login() == pin());
        assert_eq!(slots[0].info().flags & CKF_TOKEN_PRESENT, 0);
        // Open sessions go on.
        assert_eq!(slots[0].token().unwrap().entry.serial, "1");
        update(&mut slots, Ok(vec![token(7, "1")]));
        assert!(slots[0].is_present() && slots[0].login() == pin());
        // Another token came meanwhile; or none did.
        update(&mut slots, Err("no signer".to_owned()));
        update(&mut slots, Ok(vec![token(7, "2")]));
        assert!(slots[0].login() == Login::Nobody);
        slots[0].set_login(pin());
        update(&mut slots, Err("no signer".to_owned()));
        update(&mut slots, Ok(Vec::new()));
        assert!(slots[0].login() == Login::Nobody && slots[0].token().is_err());
    }

    /// As many tokens as an answer of 1 MiB holds, others each time: a list of the slots took minutes, and grew.
    #[test]
    fn slots_are_bounded() {
        let many = |from: u64| (from..from + 53_000).map(|slot| token(slot, &slot.to_string()));
        let mut slots = Vec::new();
        for from in [0, 1_000_000, 2_000_000] {
            update(&mut slots, Ok(many(from).collect()));
            assert_eq!(slots.len(), MAX_SLOTS);
            let ids = slots.iter().enumerate();
            assert!(
                ids.into_iter()
                    .all(|(at, slot)| slot.id == at as CK_SLOT_ID)
            );
            // Of those that are gone none is kept, and the first of the answer have a slot.
            let mut places: Vec<_> = slots.iter().filter_map(|slot| slot.lock().place).collect();
            places.sort_unstable();
            let first: Vec<_> = (from..from + MAX_SLOTS as u64).collect();
            assert_eq!(places, first);
            assert!(slots.iter().all(|slot| slot.is_present()));
        }
    }

    /// Two tokens that take turns with others keep their numbers, and so does one that a session has.
    #[test]
    fn the_longest_gone_is_replaced() {
        let tokens = |slots: std::ops::Range<u64>| slots.map(|slot| token(slot, "1"));
        let max = MAX_SLOTS as u64;
        let mut slots = Vec::new();
        update(&mut slots, Ok(tokens(0..max).collect()));
        let session = slots[0].clone();
        // Number 1 is gone first, then number 2; number 0 has been for as long as number 1.
        update(&mut slots, Ok(tokens(2..max).collect()));
        update(&mut slots, Ok(tokens(3..max).collect()));
        slots[1].set_login(Login::User(None));
        update(&mut slots, Ok(tokens(3..max + 1).collect()));
        assert_eq!(slots[1].token().unwrap().entry.slot, max);
        assert!(slots[1].login() == Login::Nobody);
        assert!(!slots[0].is_present() && !slots[2].is_present());
        drop(session);
        update(&mut slots, Ok(tokens(0..max + 1).collect()));
        assert_eq!(slots[0].token().unwrap().entry.slot, 0);
        assert_eq!(slots[2].token().unwrap().entry.slot, 2);
        assert_eq!(slots.len(), MAX_SLOTS);
    }

    #[test]
    fn a_number_is_one_slot() {
        let mut slots = Vec::new();
        for _ in 0..2 {
            update(
                &mut slots,
                Ok(vec![token(5, "1"), token(5, "2"), token(4, "3")]),
            );
            let found: Vec<_> = slots.iter().map(|slot| slot.token().unwrap()).collect();
            let serials: Vec<_> = found.iter().map(|token| &*token.entry.serial).collect();
            assert_eq!(serials, ["1", "3"]);
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(padded::<4>("ab"), *b"ab  ");
        assert_eq!(padded::<3>("aöö"), *"aö".as_bytes());
        assert_eq!(padded::<4>("aöö"), *"aö ".as_bytes());
    }
}
