//! The token.

use anyhow::bail;
use tedge_p11_client::{Error, Reason};
use tedge_p11_token::Module;

use super::context::Setup;
use super::pin;
use super::so_pin;
use super::state_folder::StateFolder;
use super::step::{State, Step};
use super::tedge_toml::TedgeToml;
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
            Made::By(_) | Made::Before(_) => "look for the token".to_owned(),
        }
    }

    fn asks_the_signer(&self) -> bool {
        true
    }

    /// Before the signer is set up for a token that only a vendor's tool can make: that there is one.
    fn check(&self, setup: &Setup) -> anyhow::Result<()> {
        let (Made::By(how) | Made::Before(how)) = setup.token_made() else {
            return Ok(());
        };
        if let State::Done(_) = TedgeToml.state(setup)? {
            return Ok(());
        }
        let module = Module::load(&setup.module)?;
        if !module.tokens()?.iter().any(|token| token.initialized) {
            bail!("there is no token that is initialised: {how}");
        }
        Ok(())
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        let store = setup.store()?;
        if let Made::By(how) | Made::Before(how) = setup.token_made() {
            let token = store.tokens()?.into_iter().find(|token| token.initialized);
            return match token {
                Some(token) => Ok(State::Done(token.uri)),
                None => bail!("there is no token that is initialised: {how}"),
            };
        }
        Ok(match setup.labelled_token()? {
            Some(uri) => match store.keys(Some(&setup.token_uri()), None) {
                Ok(_) => State::Done(uri),
                // Given a PIN, it would tell which.
                Err(error) if is_wrong_pin(&error) => bail!(
                    "{uri} does not take the PIN that the signer has: remove {}, and run this again with --pin-file \
                     for the PIN that it takes",
                    pin::place(setup)?
                ),
                // One that has the label, but not its user PIN yet, was left so by a signer that was cut off.
                Err(_) => State::ToDo(self.aim(setup)),
            },
            None => State::ToDo(self.aim(setup)),
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

/// Whether the token does not take the signer's PIN, or did not when it was last tried.
fn is_wrong_pin(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Error::Explained {
            reason: Reason::PinIncorrect,
            ..
        })
    )
}
