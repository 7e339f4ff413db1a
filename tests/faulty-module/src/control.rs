//! The control file: what to do wrong. It is read again whenever it changed, so a test rewrites it
//! while the host runs; best by renaming a new file over it. `#` begins a comment; a label's blanks
//! are written `%20`. Counters start anew each time the file is read.
//!
//! ```text
//! FUNCTION [slot=LABEL] [every N] return CKR_NAME|0xNUMBER [TIMES] [until FUNCTION]
//! FUNCTION [slot=LABEL] [every N] delay MILLISECONDS [TIMES] [until FUNCTION]
//! FUNCTION [slot=LABEL] [every N] hang [TIMES] [until FUNCTION]
//! FUNCTION [slot=LABEL] [every N] crash
//! token LABEL absent
//! token LABEL flag CKF_USER_PIN_NAME|CKF_PROTECTED_AUTHENTICATION_PATH
//! token LABEL without CKF_LOGIN_REQUIRED
//! token LABEL without-login PIN        (it is logged in with each session, and says that it wants no login)
//! token LABEL sessions N               (at most N at a time, as it says)
//! token LABEL read-only
//! token LABEL curve-in-private         (CKA_EC_PARAMS is wanted in the private key's template, too)
//! sessions [slot=LABEL] lost
//! ```
//!
//! FUNCTION is a name, `C_Find*`, or `*` for all but C_Initialize and C_Finalize; with
//! CKR_SESSION_HANDLE_INVALID and CKR_SESSION_CLOSED such a pattern means functions that take a session.
//! The first rule that applies to a call wins.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::{FromStr, SplitWhitespace};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use cryptoki_sys::{
    CK_FLAGS, CK_RV, CKF_LOGIN_REQUIRED, CKF_PROTECTED_AUTHENTICATION_PATH, CKF_USER_PIN_COUNT_LOW,
    CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_INITIALIZED, CKF_USER_PIN_LOCKED,
    CKF_USER_PIN_TO_BE_CHANGED, CKF_WRITE_PROTECTED, CKR_SESSION_CLOSED,
    CKR_SESSION_HANDLE_INVALID,
};

use crate::wrap::{Function, Takes};
use crate::{give_up, rv, state};

/// What to do instead of passing a call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Not to pass it on.
    Return(CK_RV),
    /// To pass it on later.
    Delay(Duration),
    /// To pass it on once the control file has changed.
    Hang,
    /// To abort the process.
    Crash,
}

/// A line of the file that speaks of calls, and what became of it.
#[derive(Debug)]
struct Rule {
    functions: Vec<Function>,
    /// Only on the token with this label.
    label: Option<String>,
    every: u64,
    action: Action,
    until: Option<Function>,
    /// Calls seen, for `every`.
    seen: AtomicU64,
    /// Times left.
    left: AtomicU64,
    /// `until` has happened.
    lifted: AtomicBool,
}

/// A control file.
#[derive(Debug, Default)]
pub(crate) struct Control {
    rules: Vec<Rule>,
    /// Labels of the tokens that are not there.
    absent: Vec<String>,
    /// Labels of tokens, and flags that they have besides their own.
    flags: Vec<(String, CK_FLAGS)>,
    /// Labels of the tokens that do not say that they want a login.
    without_login: Vec<String>,
    /// What secure elements do that SoftHSM2 does not, by the labels of the tokens.
    elements: Vec<(String, Element)>,
    /// Labels of the tokens whose sessions end now; `None` for all.
    pub(crate) lost: Vec<Option<String>>,
}

/// A way of secure elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// The PIN with which each session is logged in.
    WithoutLogin(String),
    Sessions(u64),
    ReadOnly,
    CurveInPrivate,
}

impl Control {
    /// The ways of the token with this label.
    pub(crate) fn elements(&self, label: Option<&str>) -> impl Iterator<Item = &Element> {
        let of = self
            .elements
            .iter()
            .filter(move |(of, _)| Some(of.as_str()) == label);
        of.map(|(_, element)| element)
    }

    /// What to do with a call.
    pub(crate) fn decide(&self, function: Function, label: Option<&str>) -> Option<Action> {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.concerns(function, label) && rule.applies());
        rule.map(|rule| rule.action)
    }

    /// Ends the rules that hold until `function` is called. Whether there were any.
    pub(crate) fn lift(&self, function: Function, label: Option<&str>) -> bool {
        let ended = self.rules.iter().filter(|rule| {
            rule.until == Some(function)
                && (rule.label.is_none() || rule.label.as_deref() == label)
                && !rule.lifted.swap(true, Relaxed)
        });
        ended.count() > 0
    }

    pub(crate) fn is_absent(&self, label: &str) -> bool {
        self.absent.iter().any(|absent| absent == label)
    }

    /// What the token says of itself instead of `real`.
    pub(crate) fn flags(&self, label: &str, real: CK_FLAGS) -> CK_FLAGS {
        let more = self.flags.iter().filter(|(of, _)| of == label);
        let flags = more.fold(real, |flags, (_, flag)| flags | flag);
        let flags = self
            .elements(Some(label))
            .fold(flags, |flags, element| match element {
                Element::WithoutLogin(_) => {
                    flags & !(CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED)
                }
                Element::ReadOnly => flags | CKF_WRITE_PROTECTED,
                Element::Sessions(_) | Element::CurveInPrivate => flags,
            });
        match self.without_login.iter().any(|without| without == label) {
            true => flags & !CKF_LOGIN_REQUIRED,
            false => flags,
        }
    }

    pub(crate) fn hides_tokens(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Whether a token's label decides anything.
    pub(crate) fn needs_labels(&self) -> bool {
        self.hides_tokens()
            || !self.elements.is_empty()
            || self.rules.iter().any(|rule| rule.label.is_some())
    }
}

impl Rule {
    fn concerns(&self, function: Function, label: Option<&str>) -> bool {
        self.functions.contains(&function)
            && (self.label.is_none() || self.label.as_deref() == label)
            && !self.lifted.load(Relaxed)
    }

    /// Counts a call that the rule concerns.
    fn applies(&self) -> bool {
        if (self.seen.fetch_add(1, Relaxed) + 1) % self.every != 0 {
            return false;
        }
        self.left
            .fetch_update(Relaxed, Relaxed, |left| match left {
                FOREVER => Some(FOREVER),
                left => left.checked_sub(1),
            })
            .is_ok()
    }
}

const FOREVER: u64 = u64::MAX;

impl FromStr for Control {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut control = Self::default();
        for (number, line) in text.lines().enumerate() {
            let words = line.split('#').next().unwrap_or_default();
            control
                .add(words.split_whitespace())
                .map_err(|why| format!("line {}: {why}: {line:?}", number + 1))?;
        }
        Ok(control)
    }
}

impl Control {
    fn add(&mut self, mut words: SplitWhitespace) -> Result<(), String> {
        match words.next() {
            None => return Ok(()),
            Some("token") => {
                let label = decode(words.next().ok_or("no label")?)?;
                match words.next() {
                    Some("flag") => self.flags.push((label, flag(words.next())?)),
                    Some("without-login") => {
                        let pin = words.next().ok_or("no PIN")?.to_owned();
                        self.elements.push((label, Element::WithoutLogin(pin)));
                    }
                    Some("sessions") => {
                        let most = number(words.next())?;
                        self.elements.push((label, Element::Sessions(most)));
                    }
                    Some("read-only") => self.elements.push((label, Element::ReadOnly)),
                    Some("curve-in-private") => {
                        self.elements.push((label, Element::CurveInPrivate));
                    }
                    Some("without") => {
                        expect(words.next(), "CKF_LOGIN_REQUIRED")?;
                        self.without_login.push(label);
                    }
                    word => {
                        expect(word, "absent")?;
                        self.absent.push(label);
                    }
                }
            }
            Some("sessions") => {
                let mut word = words.next();
                let label = label(word)?;
                if label.is_some() {
                    word = words.next();
                }
                expect(word, "lost")?;
                self.lost.push(label);
            }
            Some(functions) => self.rules.push(rule(functions, &mut words)?),
        }
        words
            .next()
            .map_or(Ok(()), |more| Err(format!("{more:?} is too much")))
    }
}

fn rule(pattern: &str, words: &mut SplitWhitespace) -> Result<Rule, String> {
    let mut words = words.peekable();
    let label = label(words.peek().copied())?;
    if label.is_some() {
        words.next();
    }
    let every = match words.next_if_eq(&"every") {
        Some(_) => number(words.next())?.max(1),
        None => 1,
    };
    let action = match words.next() {
        Some("return") => {
            let code = words.next().ok_or("no return value")?;
            Action::Return(rv::value(code).ok_or_else(|| format!("unknown value {code:?}"))?)
        }
        Some("delay") => Action::Delay(Duration::from_millis(number(words.next())?)),
        Some("hang") => Action::Hang,
        Some("crash") => Action::Crash,
        other => return Err(format!("{other:?} is no action")),
    };
    let left = match words.peek() {
        Some(times) if *times != "until" => number(words.next())?,
        _ => FOREVER,
    };
    let until = match words.next_if_eq(&"until") {
        Some(_) => Some(function(words.next().ok_or("until what?")?)?),
        None => None,
    };
    if let Some(more) = words.next() {
        return Err(format!("{more:?} is too much"));
    }
    let mut functions = functions(pattern, action)?;
    if label.is_some() {
        functions.retain(|function| function.takes() != Takes::Nothing);
        if functions.is_empty() {
            return Err(format!("{pattern} is not called for a token"));
        }
    }
    functions.retain(|function| Some(*function) != until);
    Ok(Rule {
        functions,
        label,
        every,
        action,
        until,
        seen: AtomicU64::new(0),
        left: AtomicU64::new(left),
        lifted: AtomicBool::new(false),
    })
}

fn functions(pattern: &str, action: Action) -> Result<Vec<Function>, String> {
    let Some(prefix) = pattern.strip_suffix('*') else {
        return Ok(vec![function(pattern)?]);
    };
    let of_sessions = [CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED]
        .map(Action::Return)
        .contains(&action);
    let matching = Function::ALL.iter().copied().filter(|function| {
        function.name().starts_with(prefix)
            && !matches!(function, Function::C_Initialize | Function::C_Finalize)
            && (!of_sessions || function.takes() == Takes::Session)
    });
    let matching: Vec<_> = matching.collect();
    match matching.is_empty() {
        true => Err(format!("no function is called {pattern}")),
        false => Ok(matching),
    }
}

fn function(name: &str) -> Result<Function, String> {
    let found = Function::ALL
        .iter()
        .find(|function| function.name() == name);
    found
        .copied()
        .ok_or_else(|| format!("no function is called {name}"))
}

fn flag(word: Option<&str>) -> Result<CK_FLAGS, String> {
    Ok(match word.ok_or("no flag")? {
        "CKF_USER_PIN_COUNT_LOW" => CKF_USER_PIN_COUNT_LOW,
        "CKF_USER_PIN_FINAL_TRY" => CKF_USER_PIN_FINAL_TRY,
        "CKF_USER_PIN_LOCKED" => CKF_USER_PIN_LOCKED,
        "CKF_USER_PIN_TO_BE_CHANGED" => CKF_USER_PIN_TO_BE_CHANGED,
        "CKF_PROTECTED_AUTHENTICATION_PATH" => CKF_PROTECTED_AUTHENTICATION_PATH,
        other => return Err(format!("{other:?} is no flag of a token's login")),
    })
}

fn label(word: Option<&str>) -> Result<Option<String>, String> {
    let label = word.and_then(|word| word.strip_prefix("slot="));
    label.map(decode).transpose()
}

fn number(word: Option<&str>) -> Result<u64, String> {
    let word = word.ok_or("no number")?;
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

fn expect(word: Option<&str>, wanted: &str) -> Result<(), String> {
    match word == Some(wanted) {
        true => Ok(()),
        false => Err(format!("{word:?} where {wanted:?} should be")),
    }
}

/// A label of the control file.
fn decode(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut label = parts.next().unwrap_or_default().as_bytes().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).ok_or("% without two digits")?;
        label.push(u8::from_str_radix(hex, 16).map_err(|_| "% without two digits")?);
        label.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(label).map_err(|error| error.to_string())
}

/// The control file as it is now; an empty one if there is none.
pub(crate) fn current() -> Arc<Control> {
    static PATH: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("FAULTY_CONTROL").map(PathBuf::from));
    static EMPTY: LazyLock<Arc<Control>> = LazyLock::new(Arc::default);
    static LOADED: RwLock<Option<(Stamp, Arc<Control>)>> = RwLock::new(None);

    let Some(path) = &*PATH else {
        return EMPTY.clone();
    };
    let loaded = |stamp: &Stamp, loaded: &Option<(Stamp, Arc<Control>)>| {
        let known = loaded.as_ref().filter(|(known, _)| known == stamp);
        known.map(|(_, control)| control.clone())
    };
    let stamp = Stamp::of(path);
    let known = loaded(
        &stamp,
        &LOADED.read().unwrap_or_else(PoisonError::into_inner),
    );
    if let Some(control) = known {
        return control;
    }
    let mut slot = LOADED.write().unwrap_or_else(PoisonError::into_inner);
    let stamp = Stamp::of(path);
    if let Some(control) = loaded(&stamp, &slot) {
        return control;
    }
    let control = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| text.parse::<Control>());
    let control = control.unwrap_or_else(|why| give_up(&format!("{}: {why}", path.display())));
    let control = Arc::new(control);
    state::end_sessions(&control);
    *slot = Some((stamp, control.clone()));
    control
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

impl Stamp {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(file) => Self(file.ino(), file.size(), file.mtime(), file.mtime_nsec()),
            Err(error) => give_up(&format!("{}: {error}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_GENERAL_ERROR};

    use super::*;
    use Function::{
        C_CloseSession, C_FindObjects, C_GetSlotList, C_Initialize, C_OpenSession, C_Sign,
    };

    fn control(text: &str) -> Control {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_without_a_number_holds_for_ever() {
        let control = control("# what follows\n\nC_Sign return CKR_DEVICE_ERROR # always\n");
        for _ in 0..3 {
            let action = control.decide(C_Sign, None);
            assert_eq!(action, Some(Action::Return(CKR_DEVICE_ERROR)));
        }
        assert_eq!(control.decide(C_FindObjects, None), None);
    }

    #[test]
    fn the_first_rule_that_applies_wins() {
        let control = control("C_Sign return 0x5 2\nC_Sign every 2 delay 7\nC_S* crash");
        let decisions: Vec<_> = (0..4)
            .map(|_| control.decide(C_Sign, None).unwrap())
            .collect();
        let error = Action::Return(CKR_GENERAL_ERROR);
        let delay = Action::Delay(Duration::from_millis(7));
        assert_eq!(decisions, [error, error, Action::Crash, delay]);
    }

    #[test]
    fn a_label_confines_a_rule() {
        let control = control("* slot=my%20token hang");
        assert_eq!(control.decide(C_Sign, Some("my token")), Some(Action::Hang));
        assert_eq!(control.decide(C_Sign, Some("other")), None);
        assert_eq!(control.decide(C_Sign, None), None);
        assert!(control.needs_labels());
    }

    #[test]
    fn until_ends_a_rule_and_is_not_hit_itself() {
        let control = control("* return CKR_CRYPTOKI_NOT_INITIALIZED 9 until C_OpenSession");
        assert!(control.decide(C_Sign, None).is_some());
        assert!(control.decide(C_GetSlotList, None).is_some());
        assert_eq!(control.decide(C_OpenSession, None), None);
        assert_eq!(control.decide(C_Initialize, None), None);
        assert!(!control.lift(C_Initialize, None));
        assert!(control.lift(C_OpenSession, Some("any")));
        assert!(!control.lift(C_OpenSession, Some("any")));
        assert_eq!(control.decide(C_Sign, None), None);
    }

    #[test]
    fn only_a_function_with_a_session_says_that_it_is_invalid() {
        let control = control("* return CKR_SESSION_HANDLE_INVALID");
        assert_eq!(control.decide(C_GetSlotList, None), None);
        assert!(control.decide(C_CloseSession, None).is_some());
    }

    #[test]
    fn tokens_and_sessions_go_away() {
        let control = control("token a absent\nsessions lost\nsessions slot=b lost");
        assert!(control.is_absent("a") && !control.is_absent("b"));
        assert_eq!(control.lost, [None, Some("b".to_owned())]);
    }

    #[test]
    fn a_token_has_more_flags_or_less() {
        let control = control(
            "token a flag CKF_USER_PIN_LOCKED\ntoken a flag CKF_USER_PIN_FINAL_TRY\n\
             token a without CKF_LOGIN_REQUIRED",
        );
        assert_eq!(
            control.flags("a", CKF_LOGIN_REQUIRED),
            CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY
        );
        assert_eq!(control.flags("b", CKF_LOGIN_REQUIRED), CKF_LOGIN_REQUIRED);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for line in [
            "C_Sing return CKR_OK",
            "C_Sign",
            "C_Sign return",
            "C_Sign return CKR_NONSENSE",
            "C_Sign return CKR_OK x",
            "C_Sign return CKR_OK 1 2",
            "C_Sign every x hang",
            "C_Sign delay",
            "C_Sign explode",
            "C_Sign hang until",
            "C_Sign hang until C_Nothing",
            "C_Sign slot=% hang",
            "C_GetSlotList slot=a hang",
            "X* hang",
            "token a",
            "token a absent now",
            "token a flag CKF_RNG",
            "token a without CKF_RNG",
            "sessions",
        ] {
            let error = format!("C_Login crash\n{line}")
                .parse::<Control>()
                .unwrap_err();
            assert!(error.starts_with("line 2: "), "{line}: {error}");
        }
    }
}
