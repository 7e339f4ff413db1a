//! Why the installed certificate does not choose a key.

use std::fmt;
use std::path::PathBuf;

/// Why the installed certificate does not tell which of several keys is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// No file is configured.
    NotConfigured,
    /// The file can't be read, or is no certificate: why.
    Unreadable(String),
    /// It is for none of the keys.
    OfNone(PathBuf),
    /// Several of the keys are the same one.
    OfSeveral(PathBuf),
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => Ok(()),
            Self::Unreadable(why) => write!(f, "; the installed certificate does not tell: {why}"),
            Self::OfNone(path) => write!(
                f,
                "; the installed certificate, {}, is for none of them",
                path.display()
            ),
            Self::OfSeveral(path) => write!(
                f,
                "; the installed certificate, {}, is for several of them",
                path.display()
            ),
        }
    }
}
