//! What the checks found.

use std::fmt;
use std::io::Write as _;

use anyhow::bail;
use serde::Serialize;

/// The findings of all checks; each is printed as soon as it is there, unless JSON is wanted.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    findings: Vec<Finding>,
}

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

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            findings: Vec::new(),
        }
    }

    pub(crate) fn ok(&mut self, area: Area, what: impl Into<String>) {
        self.add(area, State::Ok, what.into(), None);
    }

    pub(crate) fn warning(&mut self, area: Area, what: impl Into<String>, cure: impl Into<String>) {
        self.add(area, State::Warning, what.into(), Some(cure.into()));
    }

    pub(crate) fn failure(&mut self, area: Area, what: impl Into<String>, cure: impl Into<String>) {
        self.add(area, State::Failure, what.into(), Some(cure.into()));
    }

    /// A check that could not be made, or need not be; `why` says what it takes.
    pub(crate) fn skipped(&mut self, area: Area, why: impl Into<String>) {
        self.add(area, State::Skipped, why.into(), None);
    }

    /// Ends with an error if a check failed.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if self.json {
            writeln!(
                std::io::stdout(),
                "{}",
                serde_json::to_string_pretty(&self.findings)?
            )?;
        }
        let count = |state| self.findings.iter().filter(|f| f.state == state).count();
        let failures = count(State::Failure);
        if failures > 0 {
            bail!("failures: {failures}, warnings: {}", count(State::Warning));
        }
        Ok(())
    }

    fn add(&mut self, area: Area, state: State, what: String, cure: Option<String>) {
        // One line each: texts of libraries may have several.
        let one_line = |text: String| text.replace(['\n', '\r'], " ");
        let finding = Finding {
            area,
            state,
            what: one_line(what),
            cure: cure.map(one_line),
        };
        if !self.json {
            // That nobody reads it is no reason to stop: the exit code tells the rest.
            let _ = writeln!(std::io::stdout(), "{finding}");
        }
        self.findings.push(finding);
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failure => "failure",
            State::Skipped => "skipped",
        };
        let area = format!("{:?}", self.area).to_ascii_lowercase();
        write!(f, "{state:<8} {area:<12} {}", self.what)?;
        match &self.cure {
            Some(cure) => write!(f, " -> {cure}"),
            None => Ok(()),
        }
    }
}
