//! What the signer's policy refuses, in the program's own output: one line on standard error, so that a person who
//! sees "provider signature failure" need not look for the reason in the signer's journal. Failures that pass have no
//! line. `TEDGE_P11_QUIET` in the environment turns it off.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::time::{ClockId, clock_gettime};
use tedge_file::printable;

/// The variable that turns it off.
pub(crate) const QUIET: &str = "TEDGE_P11_QUIET";

static IS_QUIET: AtomicBool = AtomicBool::new(false);
/// Where lines go, once there is such a place. Not a lock: a child of fork(2) could find it locked.
static WRITE: OnceLock<fn(&str)> = OnceLock::new();
/// When a line may be written again, in milliseconds of a clock that is never set.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Says where lines go, and whether they do: not if `quiet` is there and is neither nothing nor `0`.
pub(crate) fn set(quiet: Option<&str>, write: fn(&str)) {
    let is_quiet = quiet.is_some_and(|quiet| !matches!(quiet, "" | "0"));
    IS_QUIET.store(is_quiet, Relaxed);
    // It is the same at each C_Initialize.
    let _ = WRITE.set(write);
}

/// Tells what the signer refused to do, and why, unless it told something within the last second.
pub(crate) fn tell(what: &str, why: fmt::Arguments<'_>) {
    let Some(write) = WRITE.get().filter(|_| !IS_QUIET.load(Relaxed)) else {
        return;
    };
    let now = milliseconds();
    let next = NEXT.load(Relaxed);
    let is_first = |()| NEXT.compare_exchange(next, now + PAUSE, Relaxed, Relaxed);
    if (now >= next)
        .then_some(())
        .map(is_first)
        .is_some_and(|r| r.is_ok())
    {
        write(&line(what, &why.to_string()));
    }
}

/// One line, whatever the signer says.
fn line(what: &str, why: &str) -> String {
    let mut line = format!("libtedge_p11: the signer refused to {what}: ");
    line.extend(printable(why).chars().take(MAX_CHARACTERS));
    if why.chars().nth(MAX_CHARACTERS).is_some() {
        line.push('…');
    }
    line.push('\n');
    line
}

fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let milliseconds = now.tv_sec * 1000 + now.tv_nsec / 1_000_000;
    u64::try_from(milliseconds).unwrap_or_default()
}

/// Between two lines of a process.
const PAUSE: u64 = 1000;
/// Of what the signer says. With four bytes each, a line is one write to a pipe (pipe(7), PIPE_BUF).
const MAX_CHARACTERS: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_signer_says_is_one_line_of_text() {
        let told = line("sign", "a\nb\r\x1b[2Jc\u{9b}d\u{202e}e\u{85}f ö");
        assert_eq!(
            told,
            "libtedge_p11: the signer refused to sign: a\u{fffd}b\u{fffd}\u{fffd}[2Jc\u{fffd}d\u{fffd}e\u{fffd}f ö\n"
        );
    }

    #[test]
    fn what_is_long_is_cut() {
        let told = line("sign", &"\u{10ffff}".repeat(MAX_CHARACTERS));
        assert!(
            told.len() <= 4096 && !told.ends_with("…\n"),
            "{}",
            told.len()
        );
        let told = line("sign", &"ö".repeat(MAX_CHARACTERS + 1));
        assert_eq!(told.matches('ö').count(), MAX_CHARACTERS);
        assert!(told.ends_with("ö…\n"), "{told}");
    }
}
