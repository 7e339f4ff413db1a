//! `list-keys`: the key objects on a token.

use tedge_p11_client::Uri;

use crate::args::{Place, UriParser};
use crate::command::say;
use crate::pins;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// URI of the token, or of the keys
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    for key in store.keys(args.uri.as_ref(), pin.as_ref())? {
        say(format_args!("{}\t{}\t{}", key.uri, key.class, key.key_type))?;
    }
    Ok(())
}
