//! The same with tokio.
//!
//! rustls asks for the signature in the middle of the handshake, by a call that returns when the token has signed: a
//! millisecond in a PC, a second in a small TPM, 30 s at most ([`tedge_p11_client::TimeLimits`]). So the handshake runs
//! on a thread that may wait, and the runtime's own threads go on. What comes after it needs no signature.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tedge_p11_client_examples::Settings;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn main() -> ExitCode {
    tedge_p11_client_examples::exit_code(run())
}

#[tokio::main]
async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_args()?;
    let host = settings.host.clone();
    let mut stream = connect(settings).await?;
    let request = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).await?;
    println!("{}", status.trim_end());
    Ok(())
}

async fn connect(settings: Settings) -> io::Result<TlsStream<TcpStream>> {
    let runtime = Handle::current();
    let handshake = move || {
        let tls = settings
            .tls()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let name = settings.host.clone().try_into().map_err(io::Error::other)?;
        runtime.block_on(async {
            let socket = TcpStream::connect((settings.host.as_str(), settings.port)).await?;
            TlsConnector::from(Arc::new(tls))
                .connect(name, socket)
                .await
        })
    };
    spawn_blocking(handshake).await?
}
