//! Clients that could not be answered at once: read, answered and sent to as time goes.

use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tedge_p11_config::Peer;
use tedge_p11_protocol::{DecodeError, Decoder, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::queue::calls::{Calls, Missed};
use crate::queue::limits::Place;
use crate::service::{Call, Service, time_limit};

/// A client on its way.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: StdStream,
    pub(crate) peer: Peer,
    /// Counted as long as the connection lives.
    pub(crate) place: Place,
    pub(crate) next: Next,
}

/// What is to be done for a client.
pub(crate) enum Next {
    /// Its request goes on.
    Read(Decoder<Request>),
    /// Its request is there, and takes a call.
    Answer(Call),
    /// What it sent is no request.
    Refuse(DecodeError),
    /// The rest of its answer.
    Send(Zeroizing<Vec<u8>>),
}

/// Serves the client to the end. Returns early when `stopping` while the request has not arrived yet;
/// once it has, it is answered.
pub(crate) async fn serve(
    client: Client,
    service: Arc<Service>,
    calls: Arc<Calls>,
    mut stopping: watch::Receiver<bool>,
) {
    let Client {
        stream,
        peer,
        place,
        next,
    } = client;
    let stream = stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream));
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return log::warn!("{peer}: {error}"),
    };
    let response = match next {
        Next::Read(decoder) => {
            let read = tokio::select! {
                biased;
                read = timeout(READ_LIMIT, read_request(&mut stream, decoder)) => read,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match read {
                Err(_) => {
                    let what = format!("no request within {} s", READ_LIMIT.as_secs());
                    return service.complain(&peer, &what);
                }
                Ok(Err(ReadError::Gone)) => return,
                Ok(Err(ReadError::Frame(error))) => service.refuse(&peer, &error),
                Ok(Ok(request)) => match service.sort(&peer, &place, request, &calls) {
                    Ok(call) => answer(call, &peer, service, &calls).await,
                    Err(response) => response,
                },
            }
        }
        Next::Answer(call) => answer(call, &peer, service, &calls).await,
        Next::Refuse(error) => service.refuse(&peer, &error),
        Next::Send(rest) => return finish(&mut stream, &peer, &rest).await,
    };
    finish(&mut stream, &peer, &response.encode()).await;
}

enum ReadError {
    /// The peer closed without a request, or broke off.
    Gone,
    /// What came is no request.
    Frame(DecodeError),
}

async fn read_request(
    stream: &mut UnixStream,
    mut decoder: Decoder<Request>,
) -> Result<Request, ReadError> {
    // A request may hold a PIN.
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        match stream.read(&mut chunk[..]).await {
            Ok(0) if decoder.is_empty() => return Err(ReadError::Gone),
            Ok(0) => return Err(ReadError::Frame(decoder.ended())),
            Err(_) => return Err(ReadError::Gone),
            Ok(len) => match decoder.push(&chunk[..len]) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => {}
                Err(error) => return Err(ReadError::Frame(error)),
            },
        }
    }
}

async fn answer(call: Call, peer: &Peer, service: Arc<Service>, calls: &Calls) -> Response {
    let (queued, operation) = (service.queued(peer, &call), call.operation());
    let (since, limit) = (Instant::now(), time_limit(operation));
    let (signer, client) = (service.clone(), peer.clone());
    let response = calls.run(queued, limit, move || signer.answer(&client, call));
    match response.await {
        Ok(response) => response,
        Err(Missed::Late) => service.late(peer, operation, since),
        Err(Missed::Full(full)) => service.crowd(peer, full),
    }
}

async fn finish(stream: &mut UnixStream, peer: &Peer, bytes: &[u8]) {
    let sent = timeout(WRITE_LIMIT, async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        // A peer whose bytes are left unread when the socket is closed would get a reset in place
        // of the answer.
        let mut rest = [0; 1024];
        let mut left = DRAIN_LEN;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        std::io::Result::Ok(())
    });
    match sent.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("{peer}: {error}"),
        Err(_) => log::debug!("{peer}: did not take its answer or close"),
    }
}

impl std::fmt::Debug for Next {
    /// Without what was sent: it may hold a PIN.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Answer(_) => "Answer",
            Self::Refuse(_) => "Refuse",
            Self::Send(_) => "Send",
        })
    }
}

/// For a request to arrive. Clients send it at once; this frees what a silent one holds.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// For the client to take its answer and close.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes read and dropped of a client that sends more than its request.
const DRAIN_LEN: usize = 1024 * 1024;
