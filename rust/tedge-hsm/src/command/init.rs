//! `init`: makes a blank token a token with a label and PINs.

use std::path::PathBuf;

use tedge_p11_client::{Pin, Reason, Uri};

use crate::output::{note, say};
use crate::pins;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token's URI is printed. An initialised token is never touched, because that would erase its keys. Through the \
signer, the user PIN is the one that the signer has; another one is refused. PINs that are neither there nor in a file \
are read from the terminal, twice and without echo.

Examples:
  tedge-hsm init --label device
  tedge-hsm init --label device --pin-file PIN --so-pin-file SO_PIN")]
pub(crate) struct Args {
    /// Label for the token, 1 to 32 bytes
    #[arg(long)]
    label: String,

    /// URI of the blank token, if there are blank tokens of several kinds
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// File with the new SO PIN
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let tokens = store.tokens()?;
    if let Some(token) = tokens
        .iter()
        .find(|t| t.initialized && t.label == args.label)
    {
        note("a token already has this label; nothing was changed");
        return Ok(say(&token.uri)?);
    }
    let so_pin = pins::new_so_pin(args.so_pin_file.as_deref())?;
    let given = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let init =
        |so_pin: &Pin, pin| store.init_token(args.uri.as_ref(), &args.label, so_pin.clone(), pin);
    let uri = match (given, store) {
        // The signer's own is the one that the token needs: what is typed could only differ.
        (None, Store::Signer(_)) => match init(&so_pin, None) {
            Err(error) if needs_pin(&error) && pins::can_ask() => {
                init(&so_pin, Some(pins::new_user_pin()?))?
            }
            other => other?,
        },
        (None, Store::Module(_)) => init(&so_pin, Some(pins::new_user_pin()?))?,
        (given, _) => init(&so_pin, given)?,
    };
    Ok(say(uri)?)
}

/// Whether the signer has no user PIN for the token. One that does not explain itself, as thin-edge.io's, may
/// have none.
fn needs_pin(error: &anyhow::Error) -> bool {
    use tedge_p11_client::Error::{Explained, Refused};
    matches!(
        error.downcast_ref(),
        Some(
            Refused(_)
                | Explained {
                    reason: Reason::PinNeeded,
                    ..
                }
        )
    )
}
