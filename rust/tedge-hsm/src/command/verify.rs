//! `verify`: would a TLS server take the certificate, and does the key on the token sign for it?

use std::path::PathBuf;

use anyhow::Context as _;
use tedge_p11_client::Uri;

use crate::output::milliseconds;
use crate::output::say;
use crate::place::Place;
use crate::store::Store;
use crate::trust::Trust;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;
use crate::{certificate, names, pins, trial};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A trial signature shows that the key works. The exit code is 0 if it does, and if a server that trusts the CAs \
would accept the certificate.

Examples:
  tedge-hsm verify device.pem --ca ca.pem
  tedge-hsm verify device.pem --ca ca.pem --uri 'pkcs11:token=device;object=tls'")]
pub(crate) struct Args {
    /// PEM or DER file with the certificate, and in PEM the chain that is sent with it
    cert: PathBuf,

    /// PEM or DER file with the CA certificates that the server trusts
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,

    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    store.prefer_key_of(&args.cert);
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let chain = certificate::read_chain(&args.cert)?;
    let refused = || {
        let path = args.cert.display();
        format!("a server would refuse the certificate in {path}")
    };
    Trust::read(&args.ca)?
        .verify(&chain)
        .with_context(refused)?;
    let certificate = &chain[0];
    say(format_args!(
        "certificate       {} until {}",
        names::subject(certificate.subject()),
        certificate.validity().1
    ))?;
    if certificate.version() < 3 {
        say(format_args!(
            "X.509 version     {}: servers on OpenSSL take it, some others do not",
            certificate.version()
        ))?;
    }

    let key = store.private_key(args.uri.as_ref(), pin)?;
    certificate.check_key(key.as_ref())?;
    // The first is what TLS 1.3 uses.
    let scheme = key.schemes().first();
    let scheme = *scheme.with_context(|| format!("key {} can sign nothing", key.uri()))?;
    let trial = trial::sign_and_verify(key.as_ref(), scheme, &certificate.spki()?)?;
    let how = if trial.verified {
        "signs for it"
    } else {
        "has signed; nothing here can verify that"
    };
    say(format_args!("key               {}", key.uri()))?;
    say(format_args!("signature scheme  {scheme}: {how}"))?;
    say(format_args!(
        "signature         {}",
        milliseconds(trial.duration)
    ))?;
    Ok(())
}
