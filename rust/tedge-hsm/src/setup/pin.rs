//! The user PIN, where the signer reads it from.

use anyhow::{Context as _, bail};
use tedge_p11_client::Pin;

use super::context::Setup;
use super::seal::{self, Kept, SEALED_PIN_DROP_IN, Secret};
use super::state_folder::StateFolder;
use super::step::{State, Step};
use super::systemd::make_tmpfiles;
use super::{drop_in, restart};
use crate::pin_store::{SEALED_PIN_LINK, SIGNER_PIN};
use crate::pins;
use crate::profile::Made;
use crate::root::Root;

/// Made at random for a token that is to be made, else the one that the token has.
pub(super) struct UserPin;

impl Step for UserPin {
    fn name(&self) -> &'static str {
        "PIN"
    }

    fn aim(&self, setup: &Setup) -> String {
        let which = match (setup.pin_file(), setup.token_made()) {
            (Some(file), _) => format!("take the PIN of {}", file.display()),
            (None, Made::Here) => "make a PIN at random".to_owned(),
            (None, Made::By(_) | Made::Before(_)) => "ask for the token's PIN".to_owned(),
        };
        let kept = if seal::can_seal(setup) {
            "seal it for the signer"
        } else {
            "keep it in a file that root alone may read"
        };
        format!("{which}, {kept}")
    }

    /// That the PINs that are given can be read.
    fn check(&self, setup: &Setup) -> anyhow::Result<()> {
        if let Some(file) = setup.pin_file() {
            Pin::read_file(file)?;
        }
        if let Some(file) = &setup.wanted.so_pin_file {
            Pin::read_file(file).context("the security officer's PIN")?;
        }
        if let Made::Before(_) = setup.token_made() {
            return match setup.pin_file() {
                Some(_) => bail!("this HSM has no PIN: leave --pin-file out"),
                None => Ok(()),
            };
        }
        match PIN.find(&setup.root)? {
            None => Ok(seal::check_seal_lasts(setup)?),
            Some(_) => Ok(()),
        }
    }

    fn state(&self, setup: &Setup) -> anyhow::Result<State> {
        if let Made::Before(_) = setup.token_made() {
            return Ok(State::Done("this HSM has none".to_owned()));
        }
        let Some(kept) = PIN.find(&setup.root)? else {
            return Ok(State::ToDo(self.aim(setup)));
        };
        if let Some(file) = setup.pin_file() {
            if Pin::read_file(file)? != PIN.read(&kept)? {
                bail!(
                    "{} has another PIN than {}, which the signer has; if the token has the one of {0} by \
                     now, by tedge-hsm change-pin, remove {1} and run this again; else leave --pin-file out",
                    file.display(),
                    kept.path().display()
                );
            }
        }
        let path = kept.path().display();
        match (&kept, seal::is_unsealed(&setup.root)) {
            (Kept::Sealed(_), false) => Ok(State::ToDo(format!("have systemd unseal {path}"))),
            (Kept::Plain(_), true) => bail!(
                "{path} is not sealed, and the signer's drop-in {SEALED_PIN_DROP_IN} wants a sealed one: \
                 move the file away, and give it as --pin-file"
            ),
            _ => Ok(State::Done(path.to_string())),
        }
    }

    fn run(&self, setup: &Setup, folder: Option<&StateFolder>) -> anyhow::Result<String> {
        let Some(folder) = folder else {
            bail!("an image has no PIN");
        };
        let pin = match PIN.find(&setup.root)? {
            Some(_) => None,
            None => Some(pin(setup)?),
        };
        // First, as systemd would give the signer the sealed one as it is.
        if (pin.is_none() || seal::can_seal(setup)) && !seal::is_unsealed(&setup.root) {
            drop_in::link(&setup.root, SEALED_PIN_DROP_IN, Some(folder))?;
        }
        if let Some(pin) = pin {
            folder.expect_restart()?;
            PIN.keep(setup, &pin)?;
        }
        // For a PIN that is not in /etc. Each boot makes them, too.
        if !setup.root.path(SEALED_PIN_LINK).is_symlink() {
            make_tmpfiles(&setup.root)?;
        }
        restart::signer(setup, folder)?;
        let kept = PIN.find(&setup.root)?;
        let path = kept.map(|kept| kept.path().display().to_string());
        Ok(path.unwrap_or_default())
    }
}

/// Where the signer has its PIN from.
pub(super) fn place(setup: &Setup) -> anyhow::Result<String> {
    let kept = PIN.find(&setup.root)?;
    Ok(kept.map_or_else(
        || "the signer's PIN".to_owned(),
        |kept| kept.path().display().to_string(),
    ))
}

/// What is to be told to who is about to give a token the PIN `new`, if the signer of this machine has another one,
/// as far as this user may see that.
pub(crate) fn notice_of_another(new: &Pin) -> Option<String> {
    let kept = PIN.find(&Root::default()).ok()??;
    let is_new = PIN.read(&kept).is_ok_and(|signers| signers == *new);
    (!is_new).then(|| {
        format!(
            "{} is where the signer has its PIN from when it starts, and is not this new one: if this is its token, \
             remove that file then, and run tedge-hsm setup as before, with --pin-file for the new PIN",
            kept.path().display()
        )
    })
}

/// A token that is there has one already, which can't be made up.
fn pin(setup: &Setup) -> anyhow::Result<Pin> {
    let is_there = match setup.token_made() {
        Made::By(_) | Made::Before(_) => true,
        Made::Here => setup.labelled_token()?.is_some(),
    };
    if is_there {
        let lost = || {
            format!(
                "the HSM has its token, whose PIN is not here, as after a factory reset: put {} back from a copy, or give \
                 the PIN; keys whose PIN nobody has are lost, and the token is to be initialised anew",
                PIN.file
            )
        };
        return pins::old_user_pin(setup.pin_file(), None).with_context(lost);
    }
    match pins::given(setup.pin_file(), None)? {
        Some(pin) => Ok(pin),
        // A SmartCard-HSM takes no longer one.
        None => seal::random_pin(14),
    }
}

/// LoadCredential= of the signer's unit.
const PIN: Secret = Secret {
    file: SIGNER_PIN,
    name: "pin",
};
