//! `setup`: everything between a blank HSM and a certificate request, one step a file.
//!
//! A step that finds itself done changes nothing, so that a run that was cut off anywhere is finished by the next.

mod certificate;
mod context;
mod drop_in;
mod files;
mod key;
mod lasting;
mod pin;
mod restart;
mod seal;
mod settings;
mod signer;
mod so_pin;
mod state_folder;
mod step;
mod systemd;
mod tedge_toml;
mod token;
mod users;

use anyhow::Context as _;
use tedge_p11_client::Uri;
use tedge_p11_config::DEFAULT_CONFIG_DIR;

pub(crate) use self::context::{Setup, Wanted};
pub(crate) use self::lasting::NotLasting;
pub(crate) use self::pin::notice_of_another;
pub(crate) use self::settings::{Certificate, Settings};
use self::state_folder::StateFolder;
use self::step::{State, Step};
use crate::output::{note, say};

/// Prints what there is to do, and changes nothing.
pub(crate) fn plan(setup: &Setup) -> anyhow::Result<()> {
    state_folder::check_lasting(setup)?;
    let mut is_open = false;
    let steps = steps(setup);
    for step in &steps {
        step.check(setup).context(step.name())?;
    }
    for step in steps {
        // What comes after a step that is not done can't be told: the signer would have to have it done.
        let state = if is_open && step.asks_the_signer() {
            State::ToDo(step.aim(setup))
        } else {
            step.state(setup).context(step.name())?
        };
        let (word, what) = match state {
            State::Done(what) => ("ok", what),
            State::ToDo(what) => {
                is_open = true;
                ("to do", what)
            }
        };
        say(format_args!("{word:<6} {:<12} {what}", step.name()))?;
    }
    Ok(())
}

/// Does what is not done yet, and returns the key's URI, if there is a key by then.
pub(crate) fn run(setup: &Setup) -> anyhow::Result<Option<Uri>> {
    state_folder::check_lasting(setup)?;
    let steps = steps(setup);
    // What can't be done is said before anything is changed.
    for step in &steps {
        step.check(setup).context(step.name())?;
        if !step.asks_the_signer() {
            step.state(setup).context(step.name())?;
        }
    }
    let folder = setup
        .is_machine()
        .then(|| StateFolder::open(setup))
        .transpose()?;
    if folder.is_some() {
        let written = [
            state_folder::path(setup),
            setup.root.path(DEFAULT_CONFIG_DIR),
        ];
        for dir in written.into_iter().chain(seal::folders(setup)) {
            files::sweep(&dir);
        }
        state_folder::keep_machine_id(setup)?;
    }
    for step in &steps {
        let name = step.name();
        match step.state(setup).context(name)? {
            State::Done(what) => note(format_args!("ok     {name:<12} {what}")),
            State::ToDo(_) => {
                let done = step.run(setup, folder.as_ref()).context(name)?;
                note(format_args!("done   {name:<12} {done}"));
            }
        }
    }
    match folder {
        Some(folder) => {
            folder.mark_finished()?;
            key::uri(setup)
        }
        None => Ok(None),
    }
}

/// In the order in which they are done.
fn steps(setup: &Setup) -> Vec<&'static dyn Step> {
    let mut steps: Vec<&dyn Step> = vec![&users::Users];
    if setup.profile.is_some() {
        steps.push(&drop_in::DropIn);
        steps.push(&tedge_toml::TedgeToml);
    }
    steps.push(&signer::Signer);
    // PINs, tokens and keys are a device's own: an image has none.
    if setup.is_machine() {
        let own: [&dyn Step; 4] = [
            &pin::UserPin,
            &token::Token,
            &key::Key,
            &certificate::Certificate,
        ];
        steps.extend(own);
    }
    steps
}
