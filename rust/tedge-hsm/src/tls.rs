//! A TLS connection with a client certificate, and what it took.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tedge_p11_client::{
    ClientCertResolver, PrivateKey, SignatureScheme, WatchedKey, refuses_certificate,
};

use crate::timed_stream::TimedStream;
use crate::trust::Trust;

pub(crate) type TlsStream = StreamOwned<ClientConnection, TimedStream>;

/// A connection whose handshake is done on this side.
pub(crate) struct Handshake {
    pub(crate) stream: TlsStream,
    /// From the first byte to the client's Finished, the connection of TCP not counted.
    pub(crate) duration: Duration,
    /// What was signed with and how long it took; none if the server asked for no certificate.
    pub(crate) signature: Option<(SignatureScheme, Duration)>,
}

/// Connects with `key` and the certificate chain in the file `cert`; the server must have a
/// certificate for `host` from one of those in the file `ca`. All of it takes `limit` at most.
pub(crate) fn connect(
    host: &str,
    port: u16,
    key: Arc<dyn PrivateKey>,
    cert: &Path,
    ca: &Path,
    limit: Duration,
) -> anyhow::Result<Handshake> {
    let watched = Arc::new(WatchedKey::new(key));
    let resolver = Arc::new(ClientCertResolver::new(watched.clone(), cert)?);
    let config = Arc::new(config(&Trust::read(ca)?, Some(resolver.clone()))?);
    let tcp = TimedStream::connect(host, port, limit)
        .with_context(|| format!("cannot connect to {host} port {port}"))?;
    let started = Instant::now();
    let stream = handshake(config, host, port, tcp)?;
    if let Some(error) = resolver.last_error() {
        return Err(anyhow!("no certificate was sent: {error}"));
    }
    let signature = watched.last().map(|last| (last.scheme, last.duration));
    Ok(Handshake {
        stream,
        duration: started.elapsed(),
        signature,
    })
}

/// How to connect to servers with certificates from one of those that are trusted.
pub(crate) fn config(
    trust: &Trust,
    client: Option<Arc<dyn ResolvesClientCert>>,
) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trust.roots().clone());
    Ok(match client {
        Some(client) => config.with_client_cert_resolver(client),
        None => config.with_no_client_auth(),
    })
}

/// Does the client's side of the handshake with a server that must be `host`.
pub(crate) fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    port: u16,
    tcp: TimedStream,
) -> anyhow::Result<TlsStream> {
    let name = ServerName::try_from(host.to_owned())
        .with_context(|| format!("{host} is no host name or address"))?;
    let mut stream = StreamOwned::new(ClientConnection::new(config, name)?, tcp);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .map_err(|error| explain(&error))
            .with_context(|| format!("the TLS handshake with {host} port {port} failed"))?;
    }
    Ok(stream)
}

/// What a failed read or write on a TLS connection means. In TLS 1.3 the server judges the client's
/// certificate after the client's handshake is done, so its verdict comes with the first read.
pub(crate) fn explain(error: &io::Error) -> anyhow::Error {
    let tls = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => {
            let refused = refuses_certificate(*alert);
            anyhow::Error::new(FatalAlert {
                alert: *alert,
                refused,
            })
        }
        (Some(error), _) => anyhow::Error::new(error.clone()),
        (None, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            anyhow!("no answer in time")
        }
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            anyhow!("the server closed the connection")
        }
        (None, _) => anyhow!("{error}"),
    }
}

/// A fatal alert that the server sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FatalAlert {
    pub(crate) alert: rustls::AlertDescription,
    /// Whether it is about the client's certificate.
    pub(crate) refused: bool,
}

impl std::error::Error for FatalAlert {}

impl std::fmt::Display for FatalAlert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.refused {
            "the server refused the client certificate"
        } else {
            "the server broke off"
        };
        write!(f, "{what}: TLS alert {:?}", self.alert)
    }
}
