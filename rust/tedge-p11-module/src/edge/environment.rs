//! The environment, as a library may read it: not at all in a program that runs with more rights than who
//! started it (setuid), who could name a socket of his own.

use std::ffi::OsString;

/// The value of a variable.
pub(super) fn variable(name: &str) -> Option<OsString> {
    // SAFETY: it takes a number and returns one.
    let has_more_rights = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    std::env::var_os(name).filter(|_| !has_more_rights)
}

/// The value of a variable that is text.
pub(super) fn text(name: &str) -> Option<String> {
    variable(name)?.into_string().ok()
}
