//! A PIV card in software: Nitrokey's applet, as it runs in a Nitrokey 3, behind vpcd, pcscd's virtual
//! reader. `piv-card DIR` keeps its keys and PIN counters in files in DIR, and is plugged in as long as it
//! runs. For tests: its files are as open as their permissions.

mod apdu;
mod backends;
mod platform;

use std::path::Path;
use std::process::ExitCode;

use piv_authenticator::{Authenticator, Options};
use trussed::pipe::TrussedChannel;
use trussed::virt::{Client, Runner, StorageConfig, StoreConfig};

use apdu::Card;
use backends::{BACKENDS, Backends};
use platform::Platform;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(dir), None) = (args.next(), args.next()) else {
        eprintln!("usage: piv-card DIR");
        return ExitCode::from(2);
    };
    match run(Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("piv-card: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Until vpcd closes the connection.
fn run(dir: &Path) -> std::io::Result<()> {
    let vpcd = vpicc::connect()?;
    let mut store = StoreConfig {
        internal: StorageConfig::filesystem(dir.join("internal")),
        external: StorageConfig::filesystem(dir.join("external")),
        volatile: StorageConfig::ram(),
    };
    store.with_store(|store| {
        let channel = TrussedChannel::new();
        let (requester, responder) = channel.split().expect("it is split here only");
        let mut runner = Runner::new();
        runner.add_endpoint(responder, "piv", BACKENDS);
        let client = Client::<Backends>::new(requester, runner.syscall(), None);
        runner.run(Platform::new(store), Backends::new(), || {
            vpcd.run(&mut Card::new(Authenticator::new(client, Options::new())))
        })
    })
}
