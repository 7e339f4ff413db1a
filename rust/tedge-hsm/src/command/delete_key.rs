//! `delete-key`: deletes one key, after a look at it.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::bail;
use tedge_p11_client::{ObjectType, Uri};

use crate::output::{note, say};
use crate::pins;
use crate::place::Place;
use crate::store::{Object, Store};
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The objects are shown first: the private key and the public key with the same id and label, or only the public key \
if the URI has type=public. A deleted key is lost for ever. Certificates stay.

Examples:
  tedge-hsm delete-key --uri 'pkcs11:token=device;object=tls'
  tedge-hsm delete-key --uri 'pkcs11:token=device;id=%01' --yes")]
pub(crate) struct Args {
    /// URI of the key; it must match exactly one key
    #[arg(long, value_parser = UriParser)]
    uri: Uri,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), Some(&mut args.uri))?;
    if !args.uri.names_object() {
        bail!(
            "{} names no key; add object= or id=, as tedge-hsm list-keys shows them",
            args.uri
        );
    }
    let asked_for = args.uri.object_type;
    // The public key goes with the private one, and is to be seen.
    args.uri.object_type = asked_for.filter(|asked_for| *asked_for != ObjectType::Private);
    let keys = store.keys(Some(&args.uri), pin.as_ref())?;
    let key = one_key(&args.uri, &keys)?;
    note("to be deleted:");
    for object in &keys {
        note(format_args!("  {}\t{}", object.uri, object.object_type));
    }
    if !args.yes && !confirmed()? {
        bail!("nothing is deleted");
    }
    // What was shown is what is deleted, whatever the first URI leaves by now.
    for uri in store.delete_key(&key, pin.as_ref())? {
        say(uri)?;
    }
    remind_of_certificates(store, &key);
    Ok(())
}

/// The URI of the one key that all objects belong to.
fn one_key(uri: &Uri, keys: &[Object]) -> anyhow::Result<Uri> {
    let Some(first) = keys.first() else {
        bail!("no key matches {uri}; tedge-hsm list-keys shows those that are there");
    };
    let name = |key: &Object| (key.id.clone(), key.label.clone());
    let count = |class: &str| keys.iter().filter(|key| key.class == class).count();
    if keys.iter().any(|key| name(key) != name(first)) || count("private") > 1 {
        let mut shown: Vec<&Object> = Vec::new();
        for key in keys {
            if key.class == "private" || shown.iter().all(|other| name(other) != name(key)) {
                shown.push(key);
            }
        }
        let uris: Vec<_> = shown.iter().map(|key| format!("<{}>", key.uri)).collect();
        bail!(
            "{uri} matches several keys; use the URI of one of {}",
            uris.join(" ")
        );
    }
    let key = keys.iter().find(|key| key.class == "private");
    Ok(key.unwrap_or(first).uri.parse()?)
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask for a confirmation; give --yes");
    }
    note("Delete it? It can't be undone. [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A certificate without its key is of no use, and a program may take it for a sign of one.
fn remind_of_certificates(store: &Store, key: &Uri) {
    let same_id = Uri {
        object: key.object.clone().filter(|_| key.id.is_none()),
        object_type: None,
        ..key.clone()
    };
    // The key is gone: that certificates can't be listed, by thin-edge.io's signer for one, is no failure.
    for certificate in store.certificates(Some(&same_id)).unwrap_or_default() {
        note(format_args!(
            "the certificate of the key remains on the token: {}",
            certificate.uri
        ));
    }
}
