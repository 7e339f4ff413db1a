//! What the examples share: their arguments, and a rustls configuration with the key in it.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustls::ClientConfig;
use tedge_p11_client::{
    Client, ClientCertResolver, SocketKey, Uri, read_ca_certificates, trust_anchors,
};

/// Who is called, with which key and certificate.
pub struct Settings {
    /// The signer's socket.
    pub socket: String,
    /// Which key.
    pub uri: Uri,
    /// File with the certificate of the key, and those up to the CA that the server knows.
    pub cert: String,
    /// File with the certificates of the CAs that the server may have its own from.
    pub ca: String,
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Says an error in its own words, which `main` with a `Result` would not.
#[must_use]
pub fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Settings {
    /// From the command line.
    pub fn from_args() -> Result<Self, Box<dyn Error>> {
        let args: Vec<_> = std::env::args().skip(1).collect();
        let [socket, uri, cert, ca, host, port] =
            <[String; 6]>::try_from(args).map_err(|_| "arguments: SOCKET URI CERT CA HOST PORT")?;
        Ok(Self {
            socket,
            uri: uri.parse()?,
            cert,
            ca,
            host,
            port: port.parse()?,
        })
    }

    /// TLS with the key. Asks the signer for it, which blocks.
    pub fn tls(&self) -> Result<ClientConfig, Box<dyn Error>> {
        let key = SocketKey::open(Client::new(&self.socket), &self.uri, None)?;
        let resolver = ClientCertResolver::new(Arc::new(key), &self.cert)?;
        let ca = Path::new(&self.ca);
        Ok(ClientConfig::builder()
            .with_root_certificates(trust_anchors(&read_ca_certificates(ca)?, ca)?)
            .with_client_cert_resolver(Arc::new(resolver)))
    }
}
