//! `create-key`: makes a key pair on a token.

use anyhow::bail;
use clap::ValueEnum;
use tedge_p11_client::{KeySpec, Pin, Uri, hex};

use crate::output::{note, say};
use crate::pins;
use crate::place::Place;
use crate::progress::Progress;
use crate::store::{Object, Store};
use crate::uri_parser::UriParser;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The key's URI is printed. A private key made this way never leaves its token and can only sign. If there is
a key with the label, the type and the id that are asked for, nothing is done; if the key with the label is
another one, that is an error.

Examples:
  tedge-hsm create-key --label tls
  tedge-hsm create-key --label tls --type rsa3072 --uri pkcs11:token=device
  tedge-hsm --module-path MODULE --pin-file PIN create-key --label tls --id 01")]
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

    /// Make another key even if there is one with the label
    #[arg(long)]
    another: bool,
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
    if !args.another {
        let mut keys = store.keys(args.uri.as_ref(), pin.as_ref())?;
        keys.retain(|key| key.class == "private" && key.label == args.label);
        if !keys.is_empty() {
            let key = existing(store, pin.as_ref(), &args, &keys)?;
            note("the key is there already; it is left as it is");
            return Ok(say(&key.uri)?);
        }
    }
    let progress = args
        .key_type
        .is_slow()
        .then(|| Progress::start("making an RSA key, this can take minutes on a slow token ..."));
    let uri = store.create_key(
        args.uri.as_ref(),
        pin.as_ref(),
        args.key_type.into(),
        &args.label,
        args.id.map(|id| id.0),
    );
    drop(progress);
    Ok(say(uri?)?)
}

/// The one of the keys with the label that is what was asked for.
fn existing<'a>(
    store: &Store,
    pin: Option<&Pin>,
    args: &Args,
    keys: &'a [Object],
) -> anyhow::Result<&'a Object> {
    let wanted = KeySpec::from(args.key_type);
    let wanted_id = args.id.as_ref().map(|id| hex(&id.0));
    let mut others = Vec::new();
    for key in keys {
        let uri: Uri = key.uri.parse()?;
        let spec = store.public_key(Some(&uri), pin)?.spec();
        if spec == Some(wanted) && wanted_id.as_ref().is_none_or(|id| *id == key.id) {
            return Ok(key);
        }
        let spec = spec.map_or_else(|| key.object_type.clone(), |spec| spec.to_string());
        others.push(format!("{spec} with id {}", key.id));
    }
    let id = wanted_id.map_or_else(String::new, |id| format!(" with id {id}"));
    bail!(
        "the key labelled {:?} is {}, not {wanted}{id}; delete it, choose another label, or make a second \
         key of that label with --another",
        args.label,
        others.join(" and "),
    )
}

impl KeyType {
    /// A TPM looks for the primes of an RSA key for up to a minute.
    fn is_slow(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
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
