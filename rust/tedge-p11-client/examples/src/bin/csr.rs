//! A certificate signing request with rcgen (the crate's feature `rcgen`). The arguments are SOCKET, URI and NAME.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType};
use tedge_p11_client::{Client, CsrKey, SocketKey};

fn main() -> ExitCode {
    tedge_p11_client_examples::exit_code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [socket, uri, name] =
        <[String; 3]>::try_from(args).map_err(|_| "arguments: SOCKET URI NAME")?;
    let key = SocketKey::open(Client::new(socket), &uri.parse()?, None)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&CsrKey::new(Arc::new(key))?)?;
    print!("{}", request.pem()?);
    Ok(())
}
