//! The commands.

pub(crate) mod change_pin;
pub(crate) mod connect;
pub(crate) mod create_key;
pub(crate) mod csr;
pub(crate) mod delete_key;
pub(crate) mod doctor;
pub(crate) mod export_certificate;
pub(crate) mod hsms;
pub(crate) mod import_certificate;
pub(crate) mod init;
pub(crate) mod list_certificates;
pub(crate) mod list_keys;
pub(crate) mod list_tokens;
pub(crate) mod public_key;
pub(crate) mod renew;
pub(crate) mod self_signed;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod unlock;
pub(crate) mod verify;

use std::fmt::Display;
use std::io::Write as _;

use anyhow::anyhow;
use x509_cert::der::pem::{LineEnding, encode_string};

use crate::args::{AnyCommand, Args, Command, Place};
use crate::hsm;
use crate::store::Store;

/// Runs the command that was asked for.
pub(crate) fn run(mut args: Args) -> anyhow::Result<()> {
    match args.command {
        AnyCommand::Doctor(doctor) => doctor::run(&args.place, doctor),
        AnyCommand::Hsms(hsms) => hsms::run(&hsms),
        AnyCommand::Status(status) => status::run(&args.place, &status),
        AnyCommand::OnTokens(command) => {
            hsm::choose(&mut args.place)?;
            run_on_tokens(command, &args.place)
        }
    }
}

fn run_on_tokens(command: Command, place: &Place) -> anyhow::Result<()> {
    let store = Store::open(place)?;
    match command {
        Command::Init(args) => init::run(&store, place, args),
        Command::CreateKey(args) => create_key::run(&store, place, args),
        Command::DeleteKey(args) => delete_key::run(&store, place, args),
        Command::PublicKey(args) => public_key::run(&store, place, args),
        Command::ChangePin(args) => change_pin::run(&store, place, args),
        Command::Unlock(args) => unlock::run(&store, args),
        Command::ListTokens(args) => list_tokens::run(&store, &args),
        Command::ListKeys(args) => list_keys::run(&store, place, args),
        Command::ListCertificates(args) => list_certificates::run(&store, args),
        Command::ImportCertificate(args) => import_certificate::run(&store, place, args),
        Command::ExportCertificate(args) => export_certificate::run(&store, args),
        Command::Csr(args) => csr::run(&store, place, args),
        Command::SelfSigned(args) => self_signed::run(&store, place, args),
        Command::Show(args) => show::run(&store, place, args),
        Command::Verify(args) => verify::run(&store, place, args),
        Command::Renew(args) => renew::run(&store, place, *args),
        Command::Connect(args) => connect::run(store, place, args),
    }
}

/// Prints a line to standard output. Unlike `println!`, it doesn't panic when nobody reads it.
fn say(line: impl Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Prints a listing as JSON.
fn say_json(listing: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(say(serde_json::to_string_pretty(listing)?)?)
}

fn pem(label: &str, der: &[u8]) -> anyhow::Result<String> {
    encode_string(label, LineEnding::LF, der)
        .map_err(|error| anyhow!("cannot encode the {label}: {error}"))
}

/// Tells the person something that is no result. That nobody reads it is no failure.
fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// After a user PIN was changed.
const REMINDER: &str = "the user PIN is changed; if tedge-p11-server has the old one configured, put the new \
                        one in its place";
