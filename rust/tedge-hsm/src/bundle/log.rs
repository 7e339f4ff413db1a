//! The latest lines of our services in systemd's journal.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::doctor::within;
use crate::root::Root;

/// The log of a unit since a day ago.
pub(super) fn of_unit(root: &Root, unit: &str, limit: Duration) -> String {
    let mut command = Command::new("journalctl");
    command.args([
        "--no-pager",
        "--quiet",
        "--no-hostname",
        "--output=short-iso",
        "--lines=2000",
    ]);
    if root.is_machine() {
        command.arg("--since=-1d");
    } else {
        command.arg(format!("--root={}", root.path("/").display()));
    }
    command.args(["--unit", unit]);
    run(&mut command, limit)
}

/// What a program writes, as far as it is not too long and comes within `limit`; else why there is nothing.
pub(super) fn run(command: &mut Command, limit: Duration) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return format!("({name} cannot be run: {error})\n"),
    };
    let output = child.stdout.take();
    let read = within(limit, move || {
        let mut text = Vec::new();
        output
            .map(|output| output.take(LONGEST).read_to_end(&mut text))
            .transpose()?;
        Ok::<_, std::io::Error>(text)
    });
    end(&mut child);
    match read {
        None => format!("({name} gave no answer within {} s)\n", limit.as_secs()),
        Some(Err(error)) => format!("({name}: {error})\n"),
        Some(Ok(text)) => lines(&String::from_utf8_lossy(&text)),
    }
}

/// It has written all, or is not wanted any more.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Each of bounded length, and with whole words: half of a secret would not be known as one.
fn lines(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.char_indices().nth(LONGEST_LINE) {
            Some((end, _)) => {
                let words = line[..end].rsplit_once(char::is_whitespace);
                format!("{}…\n", words.map_or("", |(words, _)| words))
            }
            None => format!("{line}\n"),
        });
    lines.collect()
}

/// In bytes, of one program.
const LONGEST: u64 = 2 * 1024 * 1024;
/// In characters.
const LONGEST_LINE: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_ends_with_a_whole_word() {
        let long = format!("{}secret-of-some-length", "x ".repeat(995));
        assert!(lines(&long).ends_with("x x…\n"), "{}", lines(&long));
        assert_eq!(lines(&"y".repeat(3000)), "…\n");
        assert_eq!(lines("short\n"), "short\n");
    }
}
