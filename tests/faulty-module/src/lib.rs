//! A PKCS#11 module for tests: it passes every call on to another module, after it looked into a
//! control file for what to do wrong.
//!
//! Environment, read once:
//! - `FAULTY_MODULE`: the module to wrap; SoftHSM2 where Debian puts it if not set.
//! - `FAULTY_CONTROL`: the control file, see [`control`]. Without it, nothing goes wrong.
//! - `FAULTY_LOG`: a file that gets one line a call, see [`log`].
//! - `FAULTY_OVERLAP=1`: log calls that run at the same time and must not.

mod call;
mod control;
mod log;
mod rv;
mod special;
mod state;
mod wrap;

use std::io::Write as _;

pub use wrap::C_GetFunctionList;

/// One line on standard error, and the end of the process: a test must notice.
fn give_up(reason: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "faulty-module: {reason}");
    std::process::abort()
}
