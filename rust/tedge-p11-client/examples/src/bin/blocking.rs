//! A TLS connection on a thread that may wait: the standard library's socket and rustls.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};
use tedge_p11_client_examples::Settings;

fn main() -> ExitCode {
    tedge_p11_client_examples::exit_code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_args()?;
    let connection =
        ClientConnection::new(Arc::new(settings.tls()?), settings.host.clone().try_into()?)?;
    let socket = TcpStream::connect((settings.host.as_str(), settings.port))?;
    let mut stream = StreamOwned::new(connection, socket);
    write!(stream, "GET / HTTP/1.0\r\nHost: {}\r\n\r\n", settings.host)?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    println!("{}", status.trim_end());
    Ok(())
}
