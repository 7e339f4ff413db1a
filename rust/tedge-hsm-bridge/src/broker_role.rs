//! The two brokers.

use std::fmt;

/// Which of the two brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BrokerRole {
    Local,
    Cloud,
}

impl BrokerRole {
    pub(crate) const BOTH: [Self; 2] = [Self::Local, Self::Cloud];
}

impl fmt::Display for BrokerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "the local broker",
            Self::Cloud => "the cloud",
        })
    }
}
