//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use tedge_p11_client::{DEFAULT_SOCKET_PATH, PinSource, Uri, UriError};

use crate::command::{
    change_pin, connect, create_key, csr, delete_key, doctor, export_certificate, hsms,
    import_certificate, init, list_certificates, list_keys, list_tokens, public_key, renew,
    self_signed, show, status, unlock, verify,
};
use crate::profile::Profile;

/// Commissions the keys of a device's HSM and tries its connection.
///
/// Works through the socket of tedge-p11-server, or with --module-path straight on a PKCS#11 module.
/// PINs are taken from files, from the environment (TEDGE_DEVICE_CRYPTOKI_PIN,
/// TEDGE_DEVICE_CRYPTOKI_SO_PIN) or typed in, never from the command line, where others could see them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    pub(crate) command: AnyCommand,
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Socket of tedge-p11-server
    #[arg(
        long, global = true, value_name = "PATH",
        env = "TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", default_value = DEFAULT_SOCKET_PATH
    )]
    pub(crate) socket_path: PathBuf,

    /// Load this PKCS#11 module instead of asking tedge-p11-server
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) module_path: Option<PathBuf>,

    /// Kind of HSM: loads its module, with the environment that the module needs (see `hsms`)
    #[arg(long, global = true, value_name = "NAME", value_parser = Profile::parse)]
    pub(crate) hsm: Option<&'static Profile>,

    /// File with the user PIN
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnyCommand {
    #[command(flatten)]
    OnTokens(Command),
    /// Look at everything between the HSM and the broker, and say what to do next
    Doctor(doctor::Args),
    /// List the kinds of HSM that are known, and which are on this machine
    Hsms(hsms::Args),
    /// Tell how the signer is: tokens, counters, how long signatures take
    Status(status::Args),
}

/// Works on the tokens at a [`Place`].
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Initialise a blank token and set its PINs; does nothing if a token has the label already
    Init(init::Args),
    /// Make a key pair on a token; does nothing if it is there already
    CreateKey(create_key::Args),
    /// Delete a key, after a look at it
    DeleteKey(delete_key::Args),
    /// Write the public key of a key
    PublicKey(public_key::Args),
    /// Change the PIN of the user or of the security officer
    ChangePin(change_pin::Args),
    /// Have the security officer set the user's PIN anew
    Unlock(unlock::Args),
    /// List the tokens
    ListTokens(list_tokens::Args),
    /// List the keys on a token
    ListKeys(list_keys::Args),
    /// List the certificates on a token
    ListCertificates(list_certificates::Args),
    /// Put a certificate beside its key on the token
    ImportCertificate(import_certificate::Args),
    /// Write a certificate that is on the token
    ExportCertificate(export_certificate::Args),
    /// Make a certificate signing request that the key on the token signs
    Csr(csr::Args),
    /// Make a certificate that the key on the token issues for itself
    SelfSigned(self_signed::Args),
    /// Show a certificate, its chain and whether it is for the key on the token
    Show(show::Args),
    /// Verify that a TLS server could accept a certificate and that the key on the token signs for it
    Verify(verify::Args),
    /// Renew a certificate, or get the first one, from an EST server (RFC 7030)
    Renew(Box<renew::Args>),
    /// Connect to an MQTT broker with TLS and the key on the token
    Connect(connect::Args),
}

const EXIT_CODES: &str = "\
Exit codes: 0, it is done; 1, it failed, and a line on standard error says why; 2, the command line is wrong.

From a blank token to a connection:
  tedge-hsm init --label device
  tedge-hsm create-key --label tls
  tedge-hsm csr --uri 'pkcs11:token=device;object=tls' --common-name DEVICE_ID --output device.csr
  tedge-hsm connect --uri 'pkcs11:token=device;object=tls' --host BROKER --cert device.pem --ca ca.pem";

/// Parses `--uri`. Unlike clap's own error, this one does not repeat the value, which may hold a PIN.
#[derive(Clone)]
pub(crate) struct UriParser;

impl TypedValueParser for UriParser {
    type Value = Uri;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Uri, clap::Error> {
        let failed = |what: String| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{what}\n")).with_cmd(command)
        };
        let uri: Uri = value
            .to_string_lossy()
            .parse()
            .map_err(|error: UriError| failed(error.to_string()))?;
        if let Some(PinSource::Value(_)) = uri.pin {
            return Err(failed(
                "a PIN in an argument can be seen by others: use pin-source= or --pin-file".into(),
            ));
        }
        Ok(uri)
    }
}
