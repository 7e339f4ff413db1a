//! `unlock`: a new user PIN from the security officer.

use std::path::PathBuf;

use tedge_p11_client::Uri;

use crate::output::note;
use crate::pins;
use crate::pins::REMINDER;
use crate::setup::notice_of_another;
use crate::store::Store;
use crate::uri_parser::UriParser;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
For a user PIN that is locked, forgotten, or was never set. The keys stay. PINs that are not in files are read from \
the terminal, without echo.

Examples:
  tedge-hsm unlock --uri pkcs11:token=device
  tedge-hsm unlock --uri pkcs11:token=device --so-pin-file SO_PIN --new-pin-file PIN")]
pub(crate) struct Args {
    /// URI of the token
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// File with the SO PIN
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,

    /// File with the new user PIN
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,
}

pub(crate) fn run(store: &Store, mut args: Args) -> anyhow::Result<()> {
    // A user PIN in the URI is not what is wanted here.
    args.uri.iter_mut().for_each(|uri| uri.pin = None);
    let so_pin = pins::so_pin(args.so_pin_file.as_deref())?;
    let new = pins::new_pin(args.new_pin_file.as_deref())?;
    if let Some(notice) = store
        .is_the_machines()
        .then(|| notice_of_another(&new))
        .flatten()
    {
        note(notice);
    }
    store.reset_pin(args.uri.as_ref(), &so_pin, &new)?;
    note(REMINDER);
    Ok(())
}
