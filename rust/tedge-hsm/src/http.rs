//! HTTPS with our own TLS: the client's key is on a token, which ureq's TLS has no place for. Nothing else
//! here knows ureq, whose interface for other transports may change with each of its versions.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use tedge_proxy::{Proxy, ProxySettings};
use ureq::config::Config;
use ureq::http::{HeaderValue, Response, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Body, Error};

use crate::timed_stream::TimedStream;
use crate::tls::{self, TlsClient, TlsStream, ToProxy};
use tedge_file::printable;

/// An HTTPS client. It follows no redirections.
pub(crate) struct HttpsClient(Agent);

/// What a server answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Status code (RFC 9110, section 15).
    pub status: u16,
    /// Of each header that is looked at, and may be there more than once, what it says as far as it is ASCII.
    pub headers: Vec<(Header, String)>,
    /// At most 256 KiB.
    pub body: Vec<u8>,
}

/// A header of an answer that somebody looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// `Content-Type`.
    ContentType,
    /// `Location`.
    Location,
    /// `Retry-After`.
    RetryAfter,
    /// `WWW-Authenticate`.
    WwwAuthenticate,
}

/// A header of a request. What is secret is not logged.
pub(crate) struct RequestHeader<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a str,
    pub(crate) secret: bool,
}

impl<'a> RequestHeader<'a> {
    pub(crate) fn new(name: &'static str, value: &'a str) -> Self {
        Self {
            name,
            value,
            secret: false,
        }
    }
}

impl HttpsClient {
    /// Takes `limit` for each request at most.
    pub(crate) fn new(tls: TlsClient, proxies: ProxySettings, limit: Duration) -> Self {
        let config = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The tunnel is the connector's.
            .proxy(None)
            .timeout_global(Some(limit))
            .user_agent(concat!("tedge-hsm/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = FirstHop {
            proxies: proxies.clone(),
            resolver: DefaultResolver::default(),
        };
        let connector = TlsConnector {
            tls,
            proxies,
            limit,
        };
        Self(Agent::with_parts(config, connector, resolver))
    }

    pub(crate) fn get(&self, url: &str) -> anyhow::Result<Answer> {
        self.0.get(url).call().map_err(explain).and_then(answer)
    }

    pub(crate) fn post(
        &self,
        url: &str,
        headers: &[RequestHeader<'_>],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let mut request = self.0.post(url);
        for header in headers {
            let mut value = HeaderValue::try_from(header.value)?;
            value.set_sensitive(header.secret);
            request = request.header(header.name, value);
        }
        request.send(body).map_err(explain).and_then(answer)
    }
}

/// `https://HOST[:PORT]`, and the path without a slash at its end.
pub(crate) fn split_url(url: &str) -> anyhow::Result<(String, String)> {
    let uri: Uri = url
        .parse()
        .map_err(|error| anyhow!("{} is no URL: {error}", printable(url)))?;
    let authority = uri.authority().context("the URL has no host")?;
    if uri.scheme_str() != Some("https") {
        bail!("the URL must begin with https://");
    }
    if authority.as_str().contains('@') || uri.query().is_some() {
        bail!("the URL may have neither a user nor a query");
    }
    let path = uri.path().trim_end_matches('/');
    Ok((format!("https://{authority}"), path.to_owned()))
}

impl Answer {
    /// What a header says, the first if it is there twice.
    #[must_use]
    pub fn header(&self, header: Header) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(name, _)| *name == header);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// Reads what is looked at. Fails if a body of which something is to be made is too long, or is not there as announced.
pub fn answer(mut response: Response<Body>) -> anyhow::Result<Answer> {
    let mut headers = Vec::new();
    for (header, name) in [
        (Header::ContentType, header::CONTENT_TYPE),
        (Header::Location, header::LOCATION),
        (Header::RetryAfter, header::RETRY_AFTER),
        (Header::WwwAuthenticate, header::WWW_AUTHENTICATE),
    ] {
        let values = response.headers().get_all(name);
        let values = values.iter().filter_map(|value| value.to_str().ok());
        headers.extend(values.map(|value| (header, value.to_owned())));
    }
    let status = response.status();
    let body = response.body_mut();
    let body = if status.is_success() {
        let body = body.with_config().limit(MAX_BODY);
        body.read_to_vec().map_err(explain)?
    } else {
        // The status says it already: of a reason that is long or cut off, the beginning does.
        let mut reason = Vec::new();
        let _ = body.as_reader().take(MAX_REASON).read_to_end(&mut reason);
        reason
    };
    Ok(Answer {
        status: status.as_u16(),
        headers,
        body,
    })
}

/// What a failed request means.
fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Io(error) => tls::explain(&error),
        Error::Timeout(_) => anyhow!("no answer in time"),
        Error::BodyExceedsLimit(limit) => anyhow!("the answer has more than {limit} bytes"),
        Error::HostNotFound => anyhow!("the host has no address"),
        // Made below.
        Error::Other(error) => anyhow::Error::from_boxed(error),
        Error::Protocol(error) => anyhow!("the server violates HTTP: {error}"),
        other => anyhow!("{other}"),
    }
}

/// Looks the proxy up in place of a host that is behind it.
#[derive(Debug)]
struct FirstHop {
    proxies: ProxySettings,
    resolver: DefaultResolver,
}

impl Resolver for FirstHop {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let proxy = host(uri).and_then(|host| self.proxies.for_host(host));
        let Some(proxy) = proxy else {
            return self.resolver.resolve(uri, config, timeout);
        };
        let uri: Uri = format!("http://{proxy}")
            .parse()
            .map_err(|_| no_proxy_address(proxy, ErrorKind::InvalidInput.into()))?;
        let found = self.resolver.resolve(&uri, config, timeout);
        found.map_err(|error| match error {
            Error::HostNotFound => no_proxy_address(proxy, ErrorKind::NotFound.into()),
            Error::Io(error) => no_proxy_address(proxy, error),
            other => other,
        })
    }
}

fn no_proxy_address(proxy: &Proxy, error: io::Error) -> Error {
    Error::Other(anyhow::Error::from(ToProxy(proxy.to_string(), error)).into())
}

/// An IPv6 address without its brackets.
fn host(uri: &Uri) -> Option<&str> {
    Some(uri.host()?.trim_start_matches('[').trim_end_matches(']'))
}

#[derive(Debug)]
struct TlsConnector {
    tls: TlsClient,
    proxies: ProxySettings,
    limit: Duration,
}

impl Connector for TlsConnector {
    type Out = TlsTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<TlsTransport>, Error> {
        let connect = || -> anyhow::Result<TlsStream> {
            let host = host(details.uri).context("the URL has no host")?;
            let port = details.uri.port_u16().unwrap_or(443);
            // What is left of the limit once the host is looked up.
            let limit = details.timeout.not_zero().map_or(self.limit, |left| *left);
            let deadline = Instant::now() + limit;
            let (stream, _) = self.tls.handshake(host, port, || {
                let tcp = TimedStream::connect_any(&details.addrs, limit, deadline);
                let Some(proxy) = self.proxies.for_host(host) else {
                    return tcp.context("cannot connect");
                };
                let tcp = tcp.map_err(|error| ToProxy(proxy.to_string(), error))?;
                tcp.open_tunnel(proxy, host, port)?;
                Ok(tcp)
            })?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| Error::Other(error.into()))?;
        let config = details.config;
        Ok(Some(TlsTransport {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

struct TlsTransport {
    stream: TlsStream,
    buffers: LazyBuffers,
}

impl TlsTransport {
    /// The deadline of the whole request stands already; this may be for a part of it.
    fn set_timeout(&mut self, timeout: NextTimeout) {
        if let Some(timeout) = timeout.not_zero() {
            self.stream.sock.shorten(*timeout);
        }
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.set_timeout(timeout.for_write());
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output)?;
        Ok(self.stream.flush()?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.set_timeout(timeout.for_read());
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// A connection is used for one request only.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

/// Bytes of an answer. A chain of RSA certificates has some 10 KiB.
const MAX_BODY: u64 = 256 * 1024;
/// Bytes of the reason that a server gives for a refusal.
const MAX_REASON: u64 = 16 * 1024;
