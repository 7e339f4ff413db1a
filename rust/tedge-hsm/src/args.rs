//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use tedge_p11_client::{DEFAULT_SOCKET_PATH, KeySpec, PinSource, Uri, UriError};
use x509_cert::ext::pkix::name::GeneralName;

use crate::command::{Renew, SelfSigned, Show, Verify};
use crate::names;

/// Commissions the keys of a device's HSM and tries its connection.
///
/// Works through the socket of tedge-p11-server, or with --module-path straight on a PKCS#11 module.
/// PINs are taken from files, from the environment (TEDGE_DEVICE_CRYPTOKI_PIN,
/// TEDGE_DEVICE_CRYPTOKI_SO_PIN) or typed in, never from the command line, where others could see them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    pub(crate) command: Command,
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

    /// File with the user PIN
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Initialise a blank token and set its PINs; does nothing if a token has the label already
    Init(Init),
    /// Make a key pair on a token; does nothing if a key has the label already
    CreateKey(CreateKey),
    /// List the tokens
    ListTokens,
    /// List the keys on a token
    ListKeys(ListKeys),
    /// Make a certificate signing request that the key on the token signs
    Csr(Csr),
    /// Make a certificate that the key on the token issues for itself
    SelfSigned(SelfSigned),
    /// Show a certificate, its chain and whether it is for the key on the token
    Show(Show),
    /// Verify that a TLS server could accept a certificate and that the key on the token signs for it
    Verify(Verify),
    /// Renew a certificate, or get the first one, from an EST server (RFC 7030)
    Renew(Box<Renew>),
    /// Connect to an MQTT broker with TLS and the key on the token
    Connect(Connect),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Label for the token, 1 to 32 bytes
    #[arg(long)]
    pub(crate) label: String,

    /// URI of the blank token, if there are blank tokens of several kinds
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,

    /// File with the PIN for the security officer
    #[arg(long, value_name = "FILE")]
    pub(crate) so_pin_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateKey {
    /// Label for the key
    #[arg(long)]
    pub(crate) label: String,

    /// URI of the token
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,

    /// Type of the key
    #[arg(long = "type", value_name = "TYPE", default_value = "p256")]
    pub(crate) key_type: KeyType,

    /// Id for the key in hexadecimal; made at random without
    #[arg(long, value_name = "HEX", value_parser = parse_id)]
    pub(crate) id: Option<Id>,
}

/// `CKA_ID`.
#[derive(Clone, Debug)]
pub(crate) struct Id(pub(crate) Vec<u8>);

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

#[derive(Debug, clap::Args)]
pub(crate) struct ListKeys {
    /// URI of the token, or of the keys
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Csr {
    /// URI of the key; the one configured at the signer without
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,

    /// Common name of the subject: the device's id
    #[arg(long, value_name = "NAME", required_unless_present = "renew")]
    pub(crate) common_name: Option<String>,

    /// Organisation of the subject
    #[arg(long, value_name = "NAME")]
    pub(crate) organization: Option<String>,

    /// Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated
    #[arg(long, value_name = "NAME", value_parser = names::parse)]
    pub(crate) san: Vec<GeneralName>,

    /// Take the names from this certificate, which must be for the same key
    #[arg(long, value_name = "CERT", conflicts_with_all = ["common_name", "organization", "san"])]
    pub(crate) renew: Option<PathBuf>,

    /// With --renew: the certificate may be for another key
    #[arg(long, requires = "renew")]
    pub(crate) new_key: bool,

    /// File to write the request to; standard output without
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// URI of the key; the one configured at the signer without
    #[arg(long, value_parser = UriParser)]
    pub(crate) uri: Option<Uri>,

    /// Host name or address of the broker, as its certificate has it
    #[arg(long)]
    pub(crate) host: String,

    /// Port of the broker
    #[arg(long, default_value_t = 8883)]
    pub(crate) port: u16,

    /// PEM file with the certificate chain of the key
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,

    /// PEM file with the certificates that the broker's is verified with
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,

    /// MQTT client id; the certificate's common name without
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Publish this message with QoS 1
    #[arg(long, num_args = 2, value_names = ["TOPIC", "MESSAGE"])]
    pub(crate) publish: Option<Vec<String>>,

    /// Subscribe to this topic and wait for one message
    #[arg(long, value_name = "TOPIC")]
    pub(crate) subscribe: Option<String>,

    /// Seconds that each step may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
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
