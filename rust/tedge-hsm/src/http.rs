//! HTTPS with our own TLS: the client's key is on a token, which ureq's TLS has no place for.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustls::ClientConfig;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use crate::timed_stream::TimedStream;
use crate::tls::{self, TlsStream};

/// An HTTPS client that follows no redirections, uses no proxy, and takes `limit` for each request
/// at most.
pub(crate) fn agent(tls: ClientConfig, limit: Duration) -> Agent {
    let config = Agent::config_builder()
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(limit))
        .user_agent(concat!("tedge-hsm/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector = TlsConnector {
        config: Arc::new(tls),
        limit,
    };
    Agent::with_parts(config, connector, DefaultResolver::default())
}

/// What a failed request means.
pub(crate) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Io(error) => tls::explain(&error),
        Error::Timeout(_) => anyhow!("no answer in time"),
        Error::BodyExceedsLimit(limit) => anyhow!("the answer has more than {limit} bytes"),
        // Made below.
        Error::Other(error) => anyhow!("{error}"),
        other => anyhow!("{other}"),
    }
}

#[derive(Debug)]
struct TlsConnector {
    config: Arc<ClientConfig>,
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
            let host = details.uri.host().context("the URL has no host")?;
            // An IPv6 address.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = details.uri.port_u16().unwrap_or(443);
            // What is left of the limit once the host is looked up.
            let limit = details.timeout.not_zero().map_or(self.limit, |left| *left);
            let tcp = TimedStream::connect_any(&details.addrs, limit).context("cannot connect")?;
            tls::handshake(self.config.clone(), host, port, tcp)
        };
        let stream = connect().map_err(|error| Error::Other(format!("{error:#}").into()))?;
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
