//! The token.

use anyhow::bail;

use super::context::Setup;
use super::so_pin;
use super::state_folder::StateFolder;
use super::step::{State, Step};
use crate::profile::Made;

pub(super) struct Token;

impl Step for Token {
    fn name(&self) -> &'static str {
        "token"
    }

    fn aim(&self, setup: &Setup) -> String {
        match setup.token_made() {
            Made::Here => format!(
                "initialise a blank token as {:?}",
                setup.wanted.settings.token
            ),
            Made::By(_) => "look for the token".to_owned(),
        }
    }

    fn asks_the_signer(&self) -> bool {
        true
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        let store = setup.store()?;
        if let Made::By(how) = setup.token_made() {
            let token = store.tokens()?.into_iter().find(|token| token.initialized);
            return match token {
                Some(token) => Ok(State::Done(token.uri)),
                None => bail!("there is no token that is initialised: {how}"),
            };
        }
        Ok(match labelled(setup)? {
            // One that has the label, but not its user PIN yet, was left so by a signer that was cut off.
            Some(uri) if store.keys(Some(&setup.token_uri()), None).is_ok() => State::Done(uri),
            _ => State::ToDo(self.aim(setup)),
        })
    }

    fn run(&self, setup: &Setup, _: Option<&StateFolder>) -> anyhow::Result<String> {
        let (pin, path) = so_pin::get(setup)?;
        // The signer has the user PIN: there are no two that could differ.
        let uri = setup
            .store()?
            .init_token(None, &setup.wanted.settings.token, pin, None)?;
        Ok(format!(
            "{uri}, with the security officer's PIN in {}",
            path.display()
        ))
    }
}

/// The URI of the token that has the label.
pub(super) fn labelled(setup: &Setup) -> anyhow::Result<Option<String>> {
    let label = &setup.wanted.settings.token;
    let mut tokens = setup.store()?.tokens()?.into_iter();
    let token = tokens.find(|token| token.initialized && token.label == *label);
    Ok(token.map(|token| token.uri))
}
