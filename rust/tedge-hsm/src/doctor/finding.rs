//! What one check has found.

use serde::Serialize;

/// The result of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) area: Area,
    pub(crate) state: State,
    /// What was found.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) cure: Option<String>,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    Device,
    Service,
    Module,
    Token,
    Pin,
    Mechanism,
    Config,
    Signer,
    Policy,
    Key,
    Programs,
    Certificate,
    Clock,
    Broker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Ok,
    Warning,
    Failure,
    Skipped,
}

impl Area {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Service => "service",
            Self::Module => "module",
            Self::Token => "token",
            Self::Pin => "pin",
            Self::Mechanism => "mechanism",
            Self::Config => "config",
            Self::Signer => "signer",
            Self::Policy => "policy",
            Self::Key => "key",
            Self::Programs => "programs",
            Self::Certificate => "certificate",
            Self::Clock => "clock",
            Self::Broker => "broker",
        }
    }
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}
