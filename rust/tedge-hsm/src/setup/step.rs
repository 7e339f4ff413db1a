//! What a step of `setup` is.

use super::context::Setup;
use super::state_folder::StateFolder;

/// Something that is done once.
pub(super) trait Step {
    /// One word.
    fn name(&self) -> &'static str;

    /// What it sees to, when nobody has looked yet whether it is done.
    fn aim(&self, setup: &Setup) -> String;

    /// Whether only a signer that runs can tell the state.
    fn asks_the_signer(&self) -> bool {
        false
    }

    /// Whether it is done, without changing anything. An error is what stops it from ever being.
    fn state(&self, setup: &Setup) -> anyhow::Result<State>;

    /// Finds out, before any step is run, what would stop this one and can be told without the signer.
    fn check(&self, _: &Setup) -> anyhow::Result<()> {
        Ok(())
    }

    /// Does it, and says what was done. `folder` is there on the machine itself, not for an image.
    fn run(&self, setup: &Setup, folder: Option<&StateFolder>) -> anyhow::Result<String>;
}

/// How far a step is, in words for a person.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Done(String),
    ToDo(String),
}
