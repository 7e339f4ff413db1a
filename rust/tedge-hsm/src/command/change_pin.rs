//! `change-pin`: a new PIN from somebody who knows the old one.

use std::path::PathBuf;

use tedge_p11_client::Uri;

use crate::output::note;
use crate::pins;
use crate::pins::REMINDER;
use crate::place::Place;
use crate::setup::notice_of_another;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
PINs that are not in files are read from the terminal, without echo. A wrong old PIN costs one of the few \
tries that a token allows. The error says how many are left, if the token tells.

Examples:
  tedge-hsm change-pin --uri pkcs11:token=device
  tedge-hsm change-pin --uri pkcs11:token=device --pin-file OLD --new-pin-file NEW
  tedge-hsm change-pin --so --uri pkcs11:token=device")]
pub(crate) struct Args {
    /// URI of the token
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// File with the new PIN
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,

    /// Change the SO PIN instead of the user PIN
    #[arg(long, conflicts_with = "pin_file")]
    so: bool,

    /// With --so: file with the old SO PIN
    #[arg(long, value_name = "FILE", requires = "so")]
    so_pin_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let new = || pins::new_pin(args.new_pin_file.as_deref());
    if args.so {
        let old = pins::so_pin(args.so_pin_file.as_deref())?;
        store.change_so_pin(args.uri.as_ref(), &old, &new()?)?;
        note("the SO PIN is changed");
        return Ok(());
    }
    let old = pins::old_user_pin(place.pin_file.as_deref(), args.uri.as_mut())?;
    let new = new()?;
    if let Some(notice) = store
        .is_the_machines()
        .then(|| notice_of_another(&new))
        .flatten()
    {
        note(notice);
    }
    store.change_pin(args.uri.as_ref(), &old, &new)?;
    note(REMINDER);
    Ok(())
}
