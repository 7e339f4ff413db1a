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
    ClientCertResolver, PrivateKey, ServerVerifier, SignatureScheme, TlsFailure, WatchedKey,
};
use tedge_proxy::ProxySettings;

use crate::timed_stream::TimedStream;
use crate::tls_unverified::Anybody;
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

/// The server that is connected to, and what it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server<'a> {
    /// As its certificate has it.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// File with the client's certificate chain.
    pub(crate) cert: &'a Path,
    /// File or folder with the CAs of the server's certificate.
    pub(crate) ca: &'a Path,
    /// Application protocols (RFC 7301) that are offered.
    pub(crate) alpn: &'a [String],
    /// What it is connected to through, or directly.
    pub(crate) proxies: &'a ProxySettings,
}

/// Where a server is, and how it proves that it is the one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint<'a> {
    /// As its certificate has it.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// File or folder with the CAs of the server's certificate.
    pub(crate) ca: &'a Path,
    /// Application protocols (RFC 7301) that are offered.
    pub(crate) alpn: &'a [String],
    /// What it is connected to through, or directly.
    pub(crate) proxies: &'a ProxySettings,
}

/// Connects with `key`; the server must have a certificate for its host from one of the CAs. All of it takes
/// `limit` at most.
pub(crate) fn connect(
    server: &Server<'_>,
    key: Arc<dyn PrivateKey>,
    limit: Duration,
) -> anyhow::Result<Handshake> {
    let watched = Arc::new(WatchedKey::new(key));
    let resolver = Arc::new(ClientCertResolver::new(watched.clone(), server.cert)?);
    let endpoint = Endpoint {
        host: server.host,
        port: server.port,
        ca: server.ca,
        alpn: server.alpn,
        proxies: server.proxies,
    };
    let (stream, duration) = connect_as(&endpoint, resolver.clone(), limit)?;
    if let Some(error) = resolver.last_error() {
        return Err(anyhow!("no certificate was sent: {error}"));
    }
    let signature = watched.last().map(|last| (last.scheme, last.duration));
    Ok(Handshake {
        stream,
        duration,
        signature,
    })
}

/// Connects with what `client` shows, in the same way. Also returns what the handshake took.
pub(crate) fn connect_as(
    endpoint: &Endpoint<'_>,
    client: Arc<dyn ResolvesClientCert>,
    limit: Duration,
) -> anyhow::Result<(TlsStream, Duration)> {
    let (host, port) = (endpoint.host, endpoint.port);
    let mut tls = TlsClient::new(&Trust::read(endpoint.ca)?, Some(client))?;
    tls.config.alpn_protocols = endpoint
        .alpn
        .iter()
        .map(|name| name.clone().into_bytes())
        .collect();
    let tcp = dial(endpoint.proxies, host, port, limit)
        .with_context(|| format!("cannot connect to {host} port {port}"))?;
    let started = Instant::now();
    let stream = tls.handshake(host, port, tcp)?;
    Ok((stream, started.elapsed()))
}

/// A TCP connection to a host, through the proxy that is for it. Only the proxy looks the host up then.
fn dial(
    proxies: &ProxySettings,
    host: &str,
    port: u16,
    limit: Duration,
) -> anyhow::Result<TimedStream> {
    let Some(proxy) = proxies.for_host(host) else {
        return Ok(TimedStream::connect(host, port, limit)?);
    };
    let address = proxy.address();
    let tcp = TimedStream::connect(address.host(), address.port(), limit)
        .map_err(|error| ToProxy(proxy.to_string(), error))?;
    tcp.open_tunnel(proxy, host, port)?;
    Ok(tcp)
}

/// There is no connection to the proxy.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to the proxy {0}")]
pub(crate) struct ToProxy(pub(crate) String, #[source] pub(crate) io::Error);

/// How to connect to servers.
#[derive(Debug)]
pub(crate) struct TlsClient {
    config: ClientConfig,
    /// None if every server is taken.
    verifier: Option<Arc<ServerVerifier>>,
}

impl TlsClient {
    /// To servers with certificates from one of the CAs that are trusted; with a certificate if there is
    /// one to show.
    pub(crate) fn new(
        trust: &Trust,
        client: Option<Arc<dyn ResolvesClientCert>>,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(trust.roots().clone());
        let verifier = Arc::new(ServerVerifier::new(roots, provider.clone())?);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFailure::of(&error, &[]))?
            // It is rustls's own, which remembers what it refused.
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let config = match client {
            Some(client) => config.with_client_cert_resolver(client),
            None => config.with_no_client_auth(),
        };
        Ok(Self {
            config,
            verifier: Some(verifier),
        })
    }

    /// To any server at all, which is shown nothing: only to get CA certificates that are compared with a fingerprint
    /// (RFC 7030, section 4.1.1).
    pub(crate) fn to_anybody() -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFailure::of(&error, &[]))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Ok(Self {
            config,
            verifier: None,
        })
    }

    /// Does the client's side of the handshake with a server that must be `host`.
    pub(crate) fn handshake(
        &self,
        host: &str,
        port: u16,
        tcp: TimedStream,
    ) -> anyhow::Result<TlsStream> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| anyhow!("{host} is no host name or address"))?;
        let connection = ClientConnection::new(Arc::new(self.config.clone()), name)
            .map_err(|error| TlsFailure::of(&error, &[]))?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| match &self.verifier {
                    Some(verifier) => verifier.explain(&error),
                    None => TlsFailure::of_io(&error, &[]),
                })
                .with_context(|| {
                    let hint = if port == MQTT_WITHOUT_TLS {
                        " (this is the port of MQTT without TLS; 8883 is the one with it)"
                    } else {
                        ""
                    };
                    format!("the TLS handshake with {host} port {port}{hint} failed")
                })?;
        }
        Ok(stream)
    }
}

/// IANA's `mqtt`; `secure-mqtt` is 8883.
const MQTT_WITHOUT_TLS: u16 = 1883;

/// What a failed read or write on a TLS connection means once the handshake is done on this side.
pub(crate) fn explain(error: &io::Error) -> anyhow::Error {
    TlsFailure::of_io(error, &[]).into()
}
