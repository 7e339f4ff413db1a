//! What the checks found.

use anyhow::bail;
use tedge_file::printable;

use super::finding::{Finding, State};
use super::text::{Layout, Totals};
use super::units::Units;
use crate::output::{AlreadyTold, say_json};

pub(super) use super::finding::Area;

/// The findings of all checks; each is printed as soon as it is there, unless JSON is wanted.
#[derive(Debug)]
pub(crate) struct Report {
    /// None for JSON.
    layout: Option<Layout>,
    units: Units,
    findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(json: bool, units: Units) -> Self {
        Self {
            layout: (!json).then(Layout::of_stdout),
            units,
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

    /// The findings, a line each.
    pub(crate) fn text(&self) -> String {
        let lines = self.findings.iter().map(|finding| {
            let (state, area) = (finding.state.name(), finding.area.name());
            let cure = finding.cure.as_ref();
            let cure = cure.map(|cure| format!(" -> {cure}"));
            let cure = cure.unwrap_or_default();
            format!("{state:<8} {area:<12} {}{cure}\n", finding.what)
        });
        lines.collect()
    }

    /// Ends with an error if a check failed.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let totals = Totals::of(&self.findings);
        match &self.layout {
            Some(_) => totals.print(),
            None => say_json(&self.findings)?,
        }
        match (totals.failed(), &self.layout) {
            (false, _) => Ok(()),
            (true, Some(_)) => Err(AlreadyTold.into()),
            (true, None) => bail!("{totals}"),
        }
    }

    fn add(&mut self, area: Area, state: State, what: String, cure: Option<String>) {
        // One line each: texts of libraries may have several. Others chose parts of them: the signer, a broker,
        // who may write tedge.toml.
        let one_line = |text: String| printable(&text.replace(['\n', '\r'], " "));
        let finding = Finding {
            area,
            state,
            what: one_line(what),
            cure: cure.map(|cure| self.units.advice(&one_line(cure))),
        };
        if let Some(layout) = &self.layout {
            layout.print(&finding);
        }
        self.findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    /// User tedge could clear root's terminal and write lines of doctor's own form there.
    #[test]
    fn a_finding_is_one_line_and_gives_no_orders() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::new(true, Units::new(&Root::new(dir.path())));
        let text = "/tmp/\u{1b}[2J\u{202e}x.so\nok  forged";
        report.failure(Area::Module, text, text);
        let finding = &report.findings[0];
        let shown = "/tmp/\u{fffd}[2J\u{fffd}x.so ok  forged";
        assert_eq!(finding.what, shown);
        assert_eq!(finding.cure.as_deref(), Some(shown));
    }
}
