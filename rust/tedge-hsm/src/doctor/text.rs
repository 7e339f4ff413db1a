//! How findings look: columns, colours on a terminal, and the totals in the end.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use rustix::termios::tcgetwinsize;

use super::finding::{Finding, State};

/// For programs and files a line for each finding; for a person at a terminal as many as its width takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// In columns; None where lines are not to be broken.
    width: Option<usize>,
}

/// How many findings there are of each state.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Totals {
    ok: usize,
    warnings: usize,
    failures: usize,
    skipped: usize,
}

impl Layout {
    pub(super) fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let columns = |stdout| tcgetwinsize(stdout).ok().map(|size| size.ws_col.into());
        let width = stdout.is_terminal().then(|| columns(&stdout)).flatten();
        Self {
            // In fewer, texts would be a column of words.
            width: width.filter(|width| *width >= 60),
        }
    }

    /// That nobody reads it is no reason to stop: the exit code tells the rest.
    pub(super) fn print(self, finding: &Finding) {
        let style = style(finding.state);
        let (state, area) = (finding.state.name(), finding.area.name());
        // It leaves the colours out unless stdout is a terminal that takes them and NO_COLOR is not set.
        let mut stdout = anstream::stdout();
        let text = self.text(finding);
        let _ = writeln!(stdout, "{style}{state:<8}{style:#} {area:<12} {text}");
    }

    fn text(self, finding: &Finding) -> String {
        let cure = finding.cure.as_ref();
        let cure = cure.map(|cure| format!("-> {cure}"));
        let Some(width) = self.width else {
            return [&finding.what, &cure.unwrap_or_default()]
                .map(String::as_str)
                .join(" ")
                .trim_end()
                .to_owned();
        };
        let mut lines = broken(&finding.what, width - INDENT);
        lines.extend(cure.iter().flat_map(|cure| broken(cure, width - INDENT)));
        lines.join(&format!("\n{:INDENT$}", ""))
    }
}

/// At blanks. A word that is longer than a line, such as a URI, stays whole, to be copied.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn style(state: State) -> Style {
    match state {
        State::Ok => AnsiColor::Green.on_default(),
        State::Warning => AnsiColor::Yellow.on_default().bold(),
        State::Failure => AnsiColor::Red.on_default().bold(),
        State::Skipped => Style::new().dimmed(),
    }
}

impl Totals {
    pub(super) fn of(findings: &[Finding]) -> Self {
        let count = |state| findings.iter().filter(|f| f.state == state).count();
        Self {
            ok: count(State::Ok),
            warnings: count(State::Warning),
            failures: count(State::Failure),
            skipped: count(State::Skipped),
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.failures > 0
    }

    /// As the last line.
    pub(super) fn print(&self) {
        let style = style(self.worst());
        let _ = writeln!(anstream::stdout(), "{style}{self}{style:#}");
    }

    fn worst(&self) -> State {
        match (self.failures, self.warnings) {
            (1.., _) => State::Failure,
            (0, 1..) => State::Warning,
            (0, 0) => State::Ok,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ok,
            warnings,
            failures,
            skipped,
        } = self;
        let checks = ok + warnings + failures + skipped;
        let plural = |number: &usize| if *number == 1 { "" } else { "s" };
        write!(
            f,
            "{checks} check{}: {ok} ok, {skipped} skipped, {warnings} warning{}, {failures} failure{}",
            plural(&checks),
            plural(warnings),
            plural(failures)
        )
    }
}

/// Columns of state and area.
const INDENT: usize = 8 + 1 + 12 + 1;

#[cfg(test)]
mod tests {
    use super::super::finding::Area;
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_for_a_person_only() {
        let finding = Finding {
            area: Area::Key,
            state: State::Failure,
            what: "the first part pkcs11:token=a-very-long-name;object=tls and the end".to_owned(),
            cure: Some("do this".to_owned()),
        };
        let text = |width| Layout { width }.text(&finding);
        assert_eq!(text(None), format!("{} -> do this", finding.what));
        let indent = " ".repeat(INDENT);
        assert_eq!(
            text(Some(INDENT + 16)),
            [
                "the first part",
                "pkcs11:token=a-very-long-name;object=tls",
                "and the end",
                "-> do this"
            ]
            .join(&format!("\n{indent}"))
        );
    }
}
