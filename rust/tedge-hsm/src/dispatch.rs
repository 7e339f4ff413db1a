//! Which command was asked for, and where.

use anyhow::anyhow;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use crate::args::{AnyCommand, Args, Command};
use crate::command::{
    change_pin, connect, create_key, csr, delete_key, doctor, enroll, export_certificate, hsms,
    import_certificate, init, key_file, list_certificates, list_keys, list_tokens, public_key,
    renew, self_signed, setup, show, status, unlock, verify,
};
use crate::place::Place;
use crate::proxy::RunBy;
use crate::store::Store;

/// Runs the command that was asked for.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let run_by = match &args.command {
        AnyCommand::OnTokens(Command::Renew(renew)) if renew.settings().is_some() => RunBy::Unit,
        AnyCommand::OnTokens(Command::Enroll(enroll)) if enroll.settings().is_some() => RunBy::Unit,
        _ => RunBy::Person,
    };
    let mut args = with_settings(args)?;
    choose_pin_file(&mut args);
    match args.command {
        AnyCommand::Doctor(doctor) => doctor::run(&args.place, doctor),
        AnyCommand::Setup(setup) => setup::run(args.place, setup),
        AnyCommand::Hsms(hsms) => hsms::run(&hsms),
        AnyCommand::Status(status) => status::run(&args.place, &status),
        AnyCommand::OnTokens(command) => {
            args.place.choose_hsm()?;
            run_on_tokens(command, &args.place, run_by)
        }
    }
}

/// `renew --settings FILE` and `enroll --settings FILE` with what the file says in its place.
fn with_settings(args: Args) -> anyhow::Result<Args> {
    let (path, options) = match &args.command {
        AnyCommand::OnTokens(Command::Renew(renew)) => match renew.settings() {
            Some(path) => (path, renew::options(path)?),
            None => return Ok(args),
        },
        AnyCommand::OnTokens(Command::Enroll(enroll)) => match enroll.settings() {
            Some(path) => (path, enroll::options(path)?),
            None => return Ok(args),
        },
        _ => return Ok(args),
    };
    let mut given: Vec<_> = std::env::args_os().collect();
    if let Some(at) = given.iter().position(|word| word == "--settings") {
        given.drain(at..=at + 1);
    } else {
        given.retain(|word| !word.as_encoded_bytes().starts_with(b"--settings="));
    }
    given.extend(options.into_iter().map(Into::into));
    Args::try_parse_from(given).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        anyhow!("{}: {first}", path.display())
    })
}

/// `--pin-file` may be in front of the command, too, but only of one that uses it. A mistake ends the program,
/// as all mistakes in the command line do.
fn choose_pin_file(args: &mut Args) {
    let own = match args.command.user_pin() {
        Some(user_pin) => user_pin.pin_file.take(),
        None if args.place.pin_file.is_some() => wrong("this command uses no user PIN"),
        None => None,
    };
    match &mut args.place.pin_file {
        Some(_) if own.is_some() => wrong("it is there twice"),
        Some(_) => {}
        none => *none = own,
    }
}

fn wrong(why: &str) -> ! {
    Args::command()
        .error(ErrorKind::ArgumentConflict, format!("--pin-file: {why}"))
        .exit()
}

fn run_on_tokens(command: Command, place: &Place, run_by: RunBy) -> anyhow::Result<()> {
    let store = Store::open(place)?;
    match command {
        Command::Init(args) => init::run(&store, place, args),
        Command::CreateKey(args) => create_key::run(&store, place, args),
        Command::DeleteKey(args) => delete_key::run(&store, place, args),
        Command::PublicKey(args) => public_key::run(&store, place, args),
        Command::KeyFile(args) => key_file::run(&store, place, args),
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
        Command::Renew(args) => renew::run(&store, place, *args, run_by),
        Command::Enroll(args) => enroll::run(&store, place, &args, run_by),
        Command::Connect(args) => connect::run(store, place, args),
    }
}
