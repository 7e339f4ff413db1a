//! What happens, in words, for a person who asked for it: with `TEDGE_P11_DEBUG` in the environment, each
//! error has a line on standard error. Without it the module writes nothing but a [`refusal`](crate::refusal):
//! standard error is the program's own.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tedge_file::printable;

/// The variable.
pub(crate) const VARIABLE: &str = "TEDGE_P11_DEBUG";

static ON: AtomicBool = AtomicBool::new(false);

/// Says whether lines are written: they are for any value but nothing and `0`.
pub(crate) fn set(value: Option<&str>) {
    ON.store(
        value.is_some_and(|value| !matches!(value, "" | "0")),
        Relaxed,
    );
}

/// One line. What the signer says is one already; a control character in it is replaced all the same.
pub(crate) fn log(what: fmt::Arguments<'_>) {
    if ON.load(Relaxed) {
        let line = printable(&what.to_string());
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "libtedge_p11: {line}");
    }
}
