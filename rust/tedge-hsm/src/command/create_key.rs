//! `create-key`: makes a key pair on a token.

use tedge_p11_client::Uri;

use crate::key_type::KeyType;
use crate::new_key::NewKey;
use crate::output::{note, say};
use crate::pins;
use crate::place::Place;
use crate::store::Store;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The key's URI is printed. A private key made this way never leaves its token and can only sign. If a key with this \
label, type and id exists already, nothing is done. If the label belongs to a key of another type or id, this is an \
error.

Examples:
  tedge-hsm create-key --label tls
  tedge-hsm create-key --label tls --type rsa3072 --uri pkcs11:token=device
  tedge-hsm --module-path MODULE create-key --label tls --id 01 --pin-file PIN")]
pub(crate) struct Args {
    /// Label for the key
    #[arg(long)]
    label: String,

    /// URI of the token
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Type of the key
    #[arg(long = "type", value_name = "TYPE", default_value = "p256")]
    key_type: KeyType,

    /// Id for the key, in hexadecimal [default: random]
    #[arg(long, value_name = "HEX", value_parser = parse_id)]
    id: Option<Id>,

    /// Make another key even if one has the label
    #[arg(long)]
    another: bool,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

/// `CKA_ID`.
#[derive(Clone, Debug)]
pub(crate) struct Id(Vec<u8>);

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let key = NewKey {
        label: args.label,
        key_type: args.key_type,
        id: args.id.map(|id| id.0),
        token: args.uri,
        instead: "delete it, choose another label, or make a second key of that label with --another",
    };
    if !args.another {
        if let Some(uri) = key.find(store, pin.as_ref())? {
            note("the key already exists; nothing was changed");
            return Ok(say(uri)?);
        }
    }
    Ok(say(key.make(store, pin.as_ref())?)?)
}

fn parse_id(text: &str) -> Result<Id, String> {
    let wrong = || "an id is an even number of hexadecimal digits".to_owned();
    if text.is_empty() || text.len() % 2 != 0 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong()))
        .collect::<Result<_, _>>()
        .map(Id)
}
