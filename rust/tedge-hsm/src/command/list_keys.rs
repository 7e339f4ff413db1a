//! `list-keys`: the key objects on a token.

use tedge_p11_client::Uri;

use crate::output::{say, say_json};
use crate::pins;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
One line for each key object, with tabs between URI, class and type. What --json prints is in docs/json.md.

Examples:
  tedge-hsm list-keys
  tedge-hsm list-keys --uri 'pkcs11:token=device;type=private' --json")]
pub(crate) struct Args {
    /// URI of the token, or of the keys
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let keys = store.keys(args.uri.as_ref(), pin.as_ref())?;
    if args.json {
        return say_json(&keys);
    }
    for key in keys {
        say(format_args!(
            "{}\t{}\t{}",
            key.uri, key.class, key.object_type
        ))?;
    }
    Ok(())
}
