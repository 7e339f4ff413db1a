//! PINs, and by whom they were given.

use std::fmt;

use tedge_p11_protocol::Pin;

/// A PIN on its way to a token.
#[derive(Clone, Copy, Debug)]
pub struct GivenPin<'a> {
    /// The PIN.
    pub pin: &'a Pin,
    /// By whom.
    pub by: Giver,
}

impl<'a> GivenPin<'a> {
    /// Given by the operator.
    #[must_use]
    pub fn by_operator(pin: &'a Pin) -> Self {
        Self {
            pin,
            by: Giver::Operator,
        }
    }
}

/// By whom a PIN was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// By the operator, who configured it, or who runs this program himself. His PINs are no guesses.
    Operator,
    /// By a caller, whose guesses are counted.
    Caller(Caller),
}

/// Whose guesses count together. For this crate, a user is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// The user with this number.
    User(u32),
    /// All those together who have no account of their own.
    Nameless,
}

impl Caller {
    /// Root is no attacker that could be stopped here.
    pub(super) fn is_root(self) -> bool {
        self == Self::User(0)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Nameless => f.write_str("uids without a user"),
        }
    }
}
