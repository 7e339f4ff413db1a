//! `create-key`: makes a key pair on a token.

use clap::ValueEnum;
use tedge_p11_client::{KeySpec, Uri};

use crate::args::{Place, UriParser};
use crate::command::say;
use crate::pins;
use crate::store::Store;

#[derive(Debug, clap::Args)]
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

    /// Id for the key in hexadecimal; made at random without
    #[arg(long, value_name = "HEX", value_parser = parse_id)]
    id: Option<Id>,
}

/// `CKA_ID`.
#[derive(Clone, Debug)]
pub(crate) struct Id(Vec<u8>);

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyType {
    P256,
    P384,
    P521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Ed25519,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let keys = store.keys(args.uri.as_ref(), pin.as_ref())?;
    let existing = keys
        .iter()
        .find(|key| key.class == "private" && key.label == args.label);
    if let Some(key) = existing {
        eprintln!("a key has the label already; it is left as it is");
        return Ok(say(&key.uri)?);
    }
    let uri = store.create_key(
        args.uri.as_ref(),
        pin.as_ref(),
        args.key_type.into(),
        &args.label,
        args.id.map(|id| id.0),
    )?;
    Ok(say(uri)?)
}

impl From<KeyType> for KeySpec {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::P256 => Self::EcP256,
            KeyType::P384 => Self::EcP384,
            KeyType::P521 => Self::EcP521,
            KeyType::Rsa2048 => Self::Rsa2048,
            KeyType::Rsa3072 => Self::Rsa3072,
            KeyType::Rsa4096 => Self::Rsa4096,
            KeyType::Ed25519 => Self::Ed25519,
        }
    }
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
