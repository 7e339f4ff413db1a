//! `--pin-file`, of the commands that log in to a token as its user.

use std::path::PathBuf;

/// The option, for a command to flatten. Its value goes to [`crate::place::Place`], which takes it in front of
/// the command, too.
#[derive(Debug, clap::Args)]
pub(crate) struct UserPin {
    /// File with the user PIN
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}
