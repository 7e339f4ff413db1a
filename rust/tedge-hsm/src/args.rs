//! The command line: options and commands.

use clap::{Parser, Subcommand};

use crate::command::{
    change_pin, connect, create_key, csr, delete_key, doctor, enroll, export_certificate, hsms,
    import_certificate, init, key_file, list_certificates, list_keys, list_tokens, public_key,
    renew, self_signed, setup, show, status, unlock, verify,
};
use crate::place::Place;
use crate::user_pin::UserPin;

/// Commissions the keys of a device's HSM and tries its connection.
///
/// Works through the socket of tedge-p11-server, or directly on a PKCS#11 module with --module-path.
/// PINs come from files, from the environment (TEDGE_DEVICE_CRYPTOKI_PIN, TEDGE_DEVICE_CRYPTOKI_SO_PIN)
/// or from the terminal, never from the command line, where other users could see them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    pub(crate) command: AnyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnyCommand {
    #[command(flatten)]
    OnTokens(Command),
    /// Check everything between the HSM and the broker, and say what to do next
    ///
    /// Each check prints one line: ok, warning, failure or skipped, what was found, and what to do next.
    /// The exit code is 1 if a check failed, else 0; warnings do not count. Nothing is changed, and
    /// without --login no try of a PIN is spent.
    Doctor(doctor::Args),
    /// Set up a device: from a blank HSM to a certificate request, in one command
    Setup(setup::Args),
    /// List the supported kinds of HSM, and which of them are on this machine
    Hsms(hsms::Args),
    /// Show signer health: tokens, counters, signature times
    Status(status::Args),
}

/// Works on the tokens at a [`Place`].
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Initialise a blank token and set its PINs; does nothing if a token already has the label
    Init(init::Args),
    /// Make a key pair on a token; does nothing if it already exists
    CreateKey(create_key::Args),
    /// Delete a key, after a confirmation
    DeleteKey(delete_key::Args),
    /// Write the public key of a key to a file
    PublicKey(public_key::Args),
    /// Write a PEM file that stands for a key, for programs that want a key file
    KeyFile(key_file::Args),
    /// Change the user PIN or the SO PIN (security officer)
    ChangePin(change_pin::Args),
    /// Reset the user PIN with the SO PIN (security officer)
    Unlock(unlock::Args),
    /// List the tokens
    ListTokens(list_tokens::Args),
    /// List the keys on a token
    ListKeys(list_keys::Args),
    /// List the certificates on a token
    ListCertificates(list_certificates::Args),
    /// Store a certificate beside its key on the token
    ImportCertificate(import_certificate::Args),
    /// Write a certificate from the token to a file
    ExportCertificate(export_certificate::Args),
    /// Make a certificate signing request, signed by the key on the token
    Csr(csr::Args),
    /// Make a self-signed certificate with the key on the token
    SelfSigned(self_signed::Args),
    /// Show a certificate, its chain, and whether it belongs to the key on the token
    Show(show::Args),
    /// Verify that a TLS server would accept a certificate, and that the key on the token works
    Verify(verify::Args),
    /// Renew a certificate, or get the first one, from an EST server (RFC 7030)
    Renew(Box<renew::Args>),
    /// Enrol the device with its cloud: from a token to a certificate and the bridge's configuration
    Enroll(enroll::Args),
    /// Connect to an MQTT broker by TLS with the key on the token
    Connect(connect::Args),
}

impl AnyCommand {
    /// The command's own `--pin-file`; `None` if it logs in to no token as the user.
    pub(crate) fn user_pin(&mut self) -> Option<&mut UserPin> {
        Some(match self {
            Self::Doctor(args) => &mut args.user_pin,
            Self::Setup(args) => &mut args.user_pin,
            Self::Hsms(_) | Self::Status(_) => return None,
            Self::OnTokens(command) => return command.user_pin(),
        })
    }
}

impl Command {
    fn user_pin(&mut self) -> Option<&mut UserPin> {
        Some(match self {
            Self::Init(args) => &mut args.user_pin,
            Self::CreateKey(args) => &mut args.user_pin,
            Self::DeleteKey(args) => &mut args.user_pin,
            Self::PublicKey(args) => &mut args.user_pin,
            Self::KeyFile(args) => &mut args.user_pin,
            Self::ChangePin(args) => &mut args.user_pin,
            Self::ListKeys(args) => &mut args.user_pin,
            Self::ImportCertificate(args) => &mut args.user_pin,
            Self::Csr(args) => &mut args.user_pin,
            Self::SelfSigned(args) => &mut args.user_pin,
            Self::Show(args) => &mut args.user_pin,
            Self::Verify(args) => &mut args.user_pin,
            Self::Renew(args) => &mut args.user_pin,
            Self::Enroll(args) => return args.user_pin(),
            Self::Connect(args) => &mut args.user_pin,
            Self::Unlock(_)
            | Self::ListTokens(_)
            | Self::ListCertificates(_)
            | Self::ExportCertificate(_) => return None,
        })
    }
}

const EXIT_CODES: &str = "\
Exit codes: 0, success; 1, failure, with the reason on standard error; 2, a mistake in the command line.

From a blank HSM to a connection:
  tedge-hsm setup --hsm tpm2 --common-name DEVICE_ID --output device.csr
  tedge-hsm connect --uri 'pkcs11:token=device;object=tls' --host BROKER --cert device.pem --ca ca.pem";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn each_command_has_examples_that_fit_a_terminal() {
        for command in Args::command().get_subcommands() {
            let name = command.get_name();
            let help = command
                .get_after_help()
                .unwrap_or_else(|| panic!("{name}"))
                .to_string();
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{name}"));
            assert!(examples.contains(&format!("tedge-hsm {name}")), "{name}");
            let long = examples.lines().find(|line| line.chars().count() > 100);
            assert_eq!(long, None, "{name}");
        }
    }

    /// In its help, and in front of it.
    #[test]
    fn only_what_logs_in_has_a_pin_file() {
        let command = Args::command();
        let has = |name: &str| {
            let command = command.find_subcommand(name).unwrap();
            command
                .get_arguments()
                .any(|arg| arg.get_long() == Some("pin-file"))
        };
        for (line, uses_it) in [
            ("unlock", false),
            ("list-tokens", false),
            ("list-certificates", false),
            ("export-certificate", false),
            ("hsms", false),
            ("status", false),
            ("doctor", true),
            ("list-keys", true),
            ("change-pin", true),
        ] {
            assert_eq!(has(line), uses_it, "{line}");
            let mut args = Args::try_parse_from(["tedge-hsm", line]).unwrap();
            assert_eq!(args.command.user_pin().is_some(), uses_it, "{line}");
        }
    }
}
