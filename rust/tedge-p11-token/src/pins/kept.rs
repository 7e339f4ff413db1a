//! What is kept of PINs over restarts, in a file: a signer that is restarted again and again would spend the
//! tries that one process spares, and begin to count guesses anew.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use tedge_file::{Attributes, FileError};
use tedge_p11_protocol::Pin;

use super::given::{Caller, Giver};
use super::kept_text::{Kept, KeptGuesser, Malformed, PinName, Refused, Role, Trace, Try};
use crate::lock::lock;
use crate::uptime::uptime;

/// What is known of all tokens.
#[derive(Debug)]
pub(crate) struct KeptPins {
    file: PathBuf,
    kept: Mutex<Kept>,
}

/// One PIN of one token.
#[derive(Clone, Debug)]
pub(crate) struct PinOf {
    pins: Arc<KeptPins>,
    name: PinName,
}

impl KeptPins {
    /// Those that `file` tells of, which is written when there are more. One that can't be read tells of none,
    /// with a warning.
    pub(crate) fn open(file: &Path) -> Self {
        let (mut kept, mut is_changed) = match read(file) {
            Ok(Some(text)) => match text.parse() {
                Ok(kept) => (kept, false),
                Err(Malformed) => {
                    log::warn!("{} is not understood, and is replaced", file.display());
                    (Kept::default(), true)
                }
            },
            Ok(None) => (Kept::default(), false),
            Err(error) => {
                log::warn!("cannot read {}: {error}", file.display());
                (Kept::default(), false)
            }
        };
        // What seems to be yet to come was before the machine started: that long ago at least, as far as can
        // be told without a clock that is right.
        let now = uptime();
        let refused = kept.refused.iter_mut();
        let guessed = kept.guessers.iter_mut();
        let times = refused.map(|refused| &mut refused.earlier.at);
        for at in times.chain(guessed.map(|(_, _, guesser)| &mut guesser.at)) {
            is_changed |= *at > now;
            *at = now.min(*at);
        }
        kept.refused
            .retain(|Refused { earlier, .. }| earlier.counts || is_recent(earlier, now));
        let pins = Self {
            file: file.to_owned(),
            kept: Mutex::new(kept),
        };
        if is_changed {
            pins.write(&pins.lock());
        }
        pins
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    /// Whole or not at all, and for good when this returns.
    fn write(&self, kept: &Kept) {
        let attributes = Attributes::Set {
            mode: 0o600,
            owner: None,
        };
        let written = tedge_file::write(&self.file, kept.to_text().as_bytes(), attributes);
        if let Err(error) = written {
            log::error!(
                "cannot write {}: {error}; a restart would forget the PINs that were wrong",
                self.file.display()
            );
        }
    }
}

impl PinOf {
    pub(crate) fn new(pins: &Arc<KeptPins>, role: Role, token: &str) -> Self {
        Self {
            pins: pins.clone(),
            name: PinName {
                role,
                token: token.to_owned(),
            },
        }
    }

    /// Those that the token refused, the latest last.
    pub(crate) fn refused(&self) -> Vec<Try> {
        let kept = self.pins.lock();
        let own = kept
            .refused
            .iter()
            .filter(|refused| refused.of == self.name);
        own.map(|refused| refused.earlier).collect()
    }

    /// Those who gave it, rightly or wrongly.
    pub(crate) fn guessers(&self) -> Vec<(Caller, KeptGuesser)> {
        let kept = self.pins.lock();
        let own = kept.guessers.iter().filter(|(of, _, _)| *of == self.name);
        own.map(|(_, caller, guesser)| (*caller, guesser.clone()))
            .collect()
    }

    /// What would be kept of `pin`. Takes a while: that is what it is for.
    pub(crate) fn trace(&self, pin: &Pin) -> Trace {
        let salt = {
            let mut kept = self.pins.lock();
            if kept.salt == [0; 16] {
                kept.salt = random();
            }
            kept.salt
        };
        let PinName { role, token } = &self.name;
        let salt = [&salt, role.name().as_bytes(), token.as_bytes()].concat();
        let mut key = [0; 8];
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(pin.expose().as_bytes(), &salt, ROUNDS, &mut key);
        Trace(u64::from_be_bytes(key))
    }

    /// Keeps that `pin` was refused, for good when this returns.
    pub(crate) fn keep_refused(&self, pin: &Pin, at: Duration, by: Giver) {
        let trace = self.trace(pin);
        let mut kept = self.pins.lock();
        let earlier = Try {
            trace,
            at,
            counts: true,
            by,
        };
        let of = self.name.clone();
        kept.refused.push(Refused { of, earlier });
        drop_too_many(&mut kept.refused);
        self.pins.write(&kept);
    }

    /// Keeps what is known of `caller`, for good when this returns.
    pub(crate) fn keep_guesser(&self, caller: Caller, guesser: KeptGuesser) {
        let mut kept = self.pins.lock();
        let mut known = kept.guessers.iter_mut();
        let is_this = |of: &PinName, by| *of == self.name && by == caller;
        match known.find(|(of, by, _)| is_this(of, *by)) {
            Some((_, _, known)) => *known = guesser,
            None => kept.guessers.push((self.name.clone(), caller, guesser)),
        }
        if kept.guessers.len() > MAX_GUESSERS {
            let guessers = kept.guessers.iter().enumerate();
            let oldest = guessers.min_by_key(|(_, (_, _, guesser))| guesser.at);
            if let Some((oldest, _)) = oldest {
                kept.guessers.remove(oldest);
            }
        }
        self.pins.write(&kept);
    }

    /// `pin` was right: what was refused before is not counted any more. What was refused lately stays, since
    /// it is as wrong as it was: a token may count it although it has seen the right one since, as a TPM does.
    pub(crate) fn forgive(&self, pin: &Pin) {
        if self.refused().is_empty() {
            return;
        }
        let (right, now) = (self.trace(pin), uptime());
        let mut kept = self.pins.lock();
        kept.refused.retain_mut(|refused| {
            if refused.of != self.name {
                return true;
            }
            refused.earlier.counts = false;
            refused.earlier.trace != right && is_recent(&refused.earlier, now)
        });
        self.pins.write(&kept);
    }
}

/// Whether it was so lately that the token may not have forgotten it.
fn is_recent(earlier: &Try, now: Duration) -> bool {
    now.saturating_sub(earlier.at) < PAUSE
}

/// Drops the oldest of the giver who has the most: who gives many wrong PINs has no other's forgotten.
fn drop_too_many(refused: &mut Vec<Refused>) {
    while refused.len() > MAX_KEPT {
        let of = |by| {
            let own = refused
                .iter()
                .filter(move |refused| refused.earlier.by == by);
            own.count()
        };
        let most = refused.iter().map(|refused| refused.earlier.by);
        let Some(most) = most.max_by_key(|by| of(*by)) else {
            return;
        };
        if let Some(oldest) = refused.iter().position(|r| r.earlier.by == most) {
            refused.remove(oldest);
        }
    }
}

fn read(file: &Path) -> Result<Option<String>, FileError> {
    match tedge_file::read_text(file, MAX_LEN) {
        Err(error) if error.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // It fails on no Linux that is supported; the time is what a salt must be at least: not always the same.
    if getrandom(&mut bytes, GetRandomFlags::empty()) != Ok(16) {
        bytes = uptime().as_nanos().to_be_bytes();
    }
    bytes
}

/// Until further PINs are tried. A TPM forgets a wrong one after 17 minutes by default.
pub(crate) const PAUSE: Duration = Duration::from_secs(3600);
/// A tenth of a second of a desktop's processor, one or two of a small device's; spent only where a PIN was wrong.
const ROUNDS: u32 = if cfg!(test) { 1000 } else { 100_000 };
/// Two an hour for a month.
const MAX_KEPT: usize = 1500;
/// Of all tokens together. More than a device has users.
const MAX_GUESSERS: usize = 1024;
/// Far more than that many take.
const MAX_LEN: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TOKENS: [(Role, &str); 3] = [
        (Role::User, "pkcs11:token=a"),
        (Role::SecurityOfficer, "pkcs11:token=a"),
        (Role::User, "pkcs11:token=b"),
    ];

    fn pin(text: &str) -> Pin {
        Pin::new(text.into()).unwrap()
    }

    #[test]
    fn what_was_refused_is_known_to_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("refused-pins");
        let start = || Arc::new(KeptPins::open(&file));
        let refused = |(role, token)| PinOf::new(&start(), role, token).refused();
        assert!(refused(TOKENS[0]).is_empty());
        assert!(!file.exists());
        let pins = start();
        for (role, token) in TOKENS {
            PinOf::new(&pins, role, token).keep_refused(&pin("654321"), uptime(), Giver::Operator);
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("654321"), "{text}");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let a = PinOf::new(&start(), Role::User, "pkcs11:token=a");
        let [earlier] = a.refused()[..] else {
            panic!("{text}")
        };
        assert!(earlier.counts && is_recent(&earlier, uptime()));
        assert_eq!(earlier.trace, a.trace(&pin("654321")));
        assert_ne!(earlier.trace, a.trace(&pin("654320")));
        // Who compares the lines learns nothing.
        for other in &TOKENS[1..] {
            assert_ne!(refused(*other)[0].trace, earlier.trace);
        }

        a.forgive(&pin("123456"));
        let kept = refused(TOKENS[0]);
        assert!(kept.len() == 1 && !kept[0].counts, "{kept:?}");
        a.forgive(&pin("654321"));
        assert_eq!(TOKENS.map(|of| refused(of).len()), [0, 1, 1]);
    }

    #[test]
    fn what_was_before_the_machine_started_is_as_long_ago_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("refused-pins");
        let text = format!(
            "salt {}\nuser 99999999999 1 1 t\nso 0 1 2 t\n",
            "1".repeat(32)
        );
        std::fs::write(&file, text).unwrap();
        let at = |role| {
            let pins = Arc::new(KeptPins::open(&file));
            PinOf::new(&pins, role, "t").refused()[0].at
        };
        let first = at(Role::User);
        assert!(first <= uptime());
        assert_eq!(at(Role::SecurityOfficer), Duration::ZERO);
        // It is not put off by each start.
        assert_eq!(at(Role::User), Duration::from_secs(first.as_secs()));
    }

    #[test]
    fn what_is_not_understood_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("refused-pins");
        for text in ["", "salt 1\n", "salt \u{e9}\nuser", "\0", "user 1 1 1 t\n"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(*KeptPins::open(&file).lock(), Kept::default());
            let replaced = std::fs::read_to_string(&file).unwrap();
            assert_eq!(replaced.parse(), Ok(Kept::default()), "{text:?}");
        }
    }
}
