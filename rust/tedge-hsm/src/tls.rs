//! A TLS connection with a client certificate, and what it took.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tedge_p11_client::{
    About, ClientCertResolver, PrivateKey, ServerVerifier, SignatureScheme, TlsFailure, WatchedKey,
};
use tedge_proxy::ProxySettings;
use tedge_tls::{PostQuantum, Unmet, got_no_answer};

use crate::output::note;
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
    /// The CAs of the server's certificate: where a password follows, those of a file that nobody else may write.
    pub(crate) trust: &'a Trust,
    /// Application protocols (RFC 7301) that are offered.
    pub(crate) alpn: &'a [String],
    /// What it is connected to through, or directly.
    pub(crate) proxies: &'a ProxySettings,
    pub(crate) post_quantum: PostQuantum,
}

/// Where a server is, and how it proves that it is the one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint<'a> {
    /// As its certificate has it.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// The CAs of the server's certificate: where a password follows, those of a file that nobody else may write.
    pub(crate) trust: &'a Trust,
    /// Application protocols (RFC 7301) that are offered.
    pub(crate) alpn: &'a [String],
    /// What it is connected to through, or directly.
    pub(crate) proxies: &'a ProxySettings,
    pub(crate) post_quantum: PostQuantum,
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
        trust: server.trust,
        alpn: server.alpn,
        proxies: server.proxies,
        post_quantum: server.post_quantum,
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
    let mut tls = TlsClient::new(endpoint.trust, Some(client), endpoint.post_quantum)?;
    for config in std::iter::once(&mut tls.config).chain(&mut tls.second) {
        let names = endpoint.alpn.iter().map(|name| name.clone().into_bytes());
        config.alpn_protocols = names.collect();
    }
    let deadline = Instant::now() + limit;
    tls.handshake(host, port, || {
        dial(endpoint.proxies, host, port, limit, deadline)
            .with_context(|| format!("cannot connect to {host} port {port}"))
    })
}

/// A TCP connection to a host, through the proxy that is for it. Only the proxy looks the host up then.
fn dial(
    proxies: &ProxySettings,
    host: &str,
    port: u16,
    limit: Duration,
    deadline: Instant,
) -> anyhow::Result<TimedStream> {
    let Some(proxy) = proxies.for_host(host) else {
        return Ok(TimedStream::connect(host, port, limit, deadline)?);
    };
    let address = proxy.address();
    let tcp = TimedStream::connect(address.host(), address.port(), limit, deadline)
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
    post_quantum: PostQuantum,
    config: ClientConfig,
    /// For one more attempt if there is no answer: its ClientHello fits into one packet.
    second: Option<ClientConfig>,
    /// None if every server is taken.
    verifier: Option<Arc<ServerVerifier>>,
}

impl TlsClient {
    /// To servers with certificates from one of the CAs that are trusted; with a certificate if there is
    /// one to show.
    pub(crate) fn new(
        trust: &Trust,
        client: Option<Arc<dyn ResolvesClientCert>>,
        post_quantum: PostQuantum,
    ) -> anyhow::Result<Self> {
        let roots = Arc::new(trust.roots().clone());
        let provider = Arc::new(post_quantum.provider());
        // It is rustls's own, which remembers what it refused.
        let verifier = Arc::new(ServerVerifier::new(roots, provider)?);
        let judge: Arc<dyn ServerCertVerifier> = verifier.clone();
        Self::with(post_quantum, &judge, client, Some(verifier))
    }

    /// To any server at all, which is shown nothing: only to get CA certificates that are compared with a fingerprint
    /// (RFC 7030, section 4.1.1).
    pub(crate) fn to_anybody(post_quantum: PostQuantum) -> anyhow::Result<Self> {
        let anybody: Arc<dyn ServerCertVerifier> =
            Arc::new(Anybody(Arc::new(post_quantum.provider())));
        Self::with(post_quantum, &anybody, None, None)
    }

    fn with(
        post_quantum: PostQuantum,
        judge: &Arc<dyn ServerCertVerifier>,
        client: Option<Arc<dyn ResolvesClientCert>>,
        verifier: Option<Arc<ServerVerifier>>,
    ) -> anyhow::Result<Self> {
        let second = post_quantum.second();
        let second = second.map(|second| config(second, judge, client.clone()));
        Ok(Self {
            second: second.transpose()?,
            config: config(post_quantum, judge, client)?,
            post_quantum,
            verifier,
        })
    }

    /// Does the client's side of the handshake with a server that must be `host`, on a connection that `dial` makes. Also
    /// returns what it took, `dial` not counted.
    ///
    /// If there is no answer, it is done once more with a ClientHello that fits into one packet, unless what makes it
    /// longer is required.
    pub(crate) fn handshake(
        &self,
        host: &str,
        port: u16,
        dial: impl Fn() -> anyhow::Result<TimedStream>,
    ) -> anyhow::Result<(TlsStream, Duration)> {
        let mut tcp = dial()?;
        let Some(second) = &self.second else {
            return self
                .attempt(&self.config, host, port, tcp)
                .map_err(|failure| failure.error);
        };
        tcp.halve_until_answered();
        let error = match self.attempt(&self.config, host, port, tcp) {
            Err(failure) if failure.no_answer => failure.error,
            result => return result.map_err(|failure| failure.error),
        };
        // A server that is gone by now has said why.
        let Ok(tcp) = dial() else { return Err(error) };
        let done = self
            .attempt(second, host, port, tcp)
            .map_err(|failure| failure.error)?;
        note(format_args!(
            "{host} port {port} did not answer the ClientHello with X25519MLKEM768, and answers one without: somebody who \
             records this connection can read it with a future quantum computer (docs/post-quantum.md)"
        ));
        Ok(done)
    }

    fn attempt(
        &self,
        config: &ClientConfig,
        host: &str,
        port: u16,
        tcp: TimedStream,
    ) -> Result<(TlsStream, Duration), Failure> {
        let started = Instant::now();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| anyhow!("{host} is no host name or address"))?;
        let connection = ClientConnection::new(Arc::new(config.clone()), name)
            .map_err(|error| TlsFailure::of(&error, &[]))?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                let hint = if port == MQTT_WITHOUT_TLS {
                    " (this is the port of MQTT without TLS; 8883 is the one with it)"
                } else {
                    ""
                };
                let context = format!("the TLS handshake with {host} port {port}{hint} failed");
                return Err(Failure {
                    error: anyhow::Error::from(self.explain(&stream.conn, &error)).context(context),
                    no_answer: got_no_answer(&stream.conn, &error),
                });
            }
        }
        Ok((stream, started.elapsed()))
    }

    fn explain(&self, connection: &ClientConnection, error: &io::Error) -> TlsFailure {
        if let Some(Unmet { what, cure }) = self.post_quantum.unmet(connection, error) {
            return TlsFailure {
                what,
                cure: Some(cure.to_owned()),
                about: About::Connection,
            };
        }
        match &self.verifier {
            Some(verifier) => verifier.explain(error),
            None => TlsFailure::of_io(error, &[]),
        }
    }
}

fn config(
    post_quantum: PostQuantum,
    judge: &Arc<dyn ServerCertVerifier>,
    client: Option<Arc<dyn ResolvesClientCert>>,
) -> anyhow::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(post_quantum.provider()))
        .with_protocol_versions(post_quantum.versions(true))
        .map_err(|error| TlsFailure::of(&error, &[]))?
        .dangerous()
        .with_custom_certificate_verifier(judge.clone());
    Ok(match client {
        Some(client) => config.with_client_cert_resolver(client),
        None => config.with_no_client_auth(),
    })
}

/// Why a handshake failed.
struct Failure {
    error: anyhow::Error,
    /// Whether the server said nothing.
    no_answer: bool,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            no_answer: false,
        }
    }
}

/// IANA's `mqtt`; `secure-mqtt` is 8883.
const MQTT_WITHOUT_TLS: u16 = 1883;

/// What a failed read or write on a TLS connection means once the handshake is done on this side.
pub(crate) fn explain(error: &io::Error) -> anyhow::Error {
    TlsFailure::of_io(error, &[]).into()
}
