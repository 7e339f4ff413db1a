//! What is kept of PINs over restarts, as text.
//!
//! A wrong PIN is kept as a key derived from it (PBKDF2, RFC 8018), which is slow to guess it from. Of a PIN that
//! was right, nothing is kept but who gave it.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use tedge_p11_protocol::hex;

use super::given::{Caller, Giver};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) salt: [u8; 16],
    /// The latest last.
    pub(super) refused: Vec<Refused>,
    pub(super) guessers: Vec<(PinName, Caller, KeptGuesser)>,
}

/// One PIN of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PinName {
    pub(super) role: Role,
    /// URI of the token.
    pub(super) token: String,
}

/// Whose PIN it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    SecurityOfficer,
}

/// What is kept of a wrong PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace(pub(super) u64);

/// A PIN that a token refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) of: PinName,
    pub(super) earlier: Try,
}

/// A try of an earlier process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) trace: Trace,
    /// See [`uptime`](crate::uptime::uptime).
    pub(crate) at: Duration,
    /// Not if a PIN was right since.
    pub(crate) counts: bool,
    pub(crate) by: Giver,
}

/// Who gave PINs, of which some were wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptGuesser {
    /// How many different ones were wrong.
    pub(crate) wrong: u32,
    /// The last of them; see [`uptime`](crate::uptime::uptime).
    pub(crate) at: Duration,
    /// Whether the right PIN came after the pause.
    pub(crate) has_waited: bool,
    /// Whether the right PIN ever came.
    pub(crate) was_right: bool,
    /// Of the last few wrong ones.
    pub(crate) traces: Vec<Trace>,
}

impl Kept {
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\nsalt {}\n", hex(&self.salt));
        for Refused { of, earlier } in &self.refused {
            let Try {
                trace,
                at,
                counts,
                by,
            } = *earlier;
            let (role, token, by) = (of.role.name(), &of.token, giver_name(by));
            let (at, counts) = (at.as_secs(), u8::from(counts));
            // Writing to a String does not fail.
            let _ = writeln!(text, "{role} {at} {counts} {:016x} {by} {token}", trace.0);
        }
        for (of, caller, guesser) in &self.guessers {
            let (role, token) = (of.role.name(), &of.token);
            let caller = giver_name(Giver::Caller(*caller));
            let (wrong, at) = (guesser.wrong, guesser.at.as_secs());
            let flags = (u8::from(guesser.has_waited), u8::from(guesser.was_right));
            let (waited, right) = flags;
            let _ = write!(
                text,
                "guesser {role} {caller} {wrong} {at} {waited} {right} {token}"
            );
            for trace in &guesser.traces {
                let _ = write!(text, " {:016x}", trace.0);
            }
            text.push('\n');
        }
        text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl FromStr for Kept {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let salt = lines.next().and_then(|line| line.strip_prefix("salt "));
        let salt = salt.filter(|salt| salt.len() == 32).ok_or(Malformed)?;
        let salt = u128::from_str_radix(salt, 16).map_err(|_| Malformed)?;
        let mut kept = Self {
            salt: salt.to_be_bytes(),
            ..Self::default()
        };
        for line in lines {
            let parts: Vec<_> = line.split(' ').collect();
            match parts[..] {
                [
                    "guesser",
                    role,
                    caller,
                    wrong,
                    at,
                    waited,
                    right,
                    token,
                    ref traces @ ..,
                ] => {
                    let traces = traces.iter().map(|trace| trace.parse());
                    let guesser = KeptGuesser {
                        wrong: wrong.parse().map_err(|_| Malformed)?,
                        at: seconds(at)?,
                        has_waited: waited == "1",
                        was_right: right == "1",
                        traces: traces.collect::<Result<_, _>>()?,
                    };
                    let Giver::Caller(caller) = giver(caller)? else {
                        return Err(Malformed);
                    };
                    kept.guessers
                        .push((pin_name(role, token)?, caller, guesser));
                }
                [role, at, counts, trace, by, token] => {
                    kept.refused
                        .push(refused(role, at, counts, trace, giver(by)?, token)?);
                }
                // As version 0.1 wrote it, which did not keep by whom.
                [role, at, counts, trace, token] => {
                    let by = Giver::Caller(Caller::Nameless);
                    kept.refused
                        .push(refused(role, at, counts, trace, by, token)?);
                }
                _ => return Err(Malformed),
            }
        }
        Ok(kept)
    }
}

impl FromStr for Trace {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| Malformed)
    }
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::SecurityOfficer => "so",
        }
    }
}

fn refused(
    role: &str,
    at: &str,
    counts: &str,
    trace: &str,
    by: Giver,
    token: &str,
) -> Result<Refused, Malformed> {
    Ok(Refused {
        of: pin_name(role, token)?,
        earlier: Try {
            trace: trace.parse()?,
            at: seconds(at)?,
            counts: counts == "1",
            by,
        },
    })
}

fn pin_name(role: &str, token: &str) -> Result<PinName, Malformed> {
    let role = [Role::User, Role::SecurityOfficer]
        .into_iter()
        .find(|known| known.name() == role);
    Ok(PinName {
        role: role.ok_or(Malformed)?,
        token: token.to_owned(),
    })
}

fn seconds(text: &str) -> Result<Duration, Malformed> {
    text.parse().map(Duration::from_secs).map_err(|_| Malformed)
}

fn giver_name(giver: Giver) -> String {
    match giver {
        Giver::Operator => "operator".to_owned(),
        Giver::Caller(Caller::User(uid)) => uid.to_string(),
        Giver::Caller(Caller::Nameless) => "nameless".to_owned(),
    }
}

fn giver(name: &str) -> Result<Giver, Malformed> {
    Ok(match name {
        "operator" => Giver::Operator,
        "nameless" => Giver::Caller(Caller::Nameless),
        uid => Giver::Caller(Caller::User(uid.parse().map_err(|_| Malformed)?)),
    })
}

const HEADER: &str = "# Wrong PINs and who gave them, as tedge-p11-server keeps them: those that tokens refused are not \
                      tried\n# again, and who guesses has to wait. Without this file and after a restart, all is \
                      forgotten: remove it if a\n# PIN that was refused is right by now.";
