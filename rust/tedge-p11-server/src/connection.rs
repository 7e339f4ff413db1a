//! One client: reads its request, has it answered, sends the answer, closes.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tedge_p11_protocol::{DecodeError, Decoder, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::calls::{Calls, Refused};
use crate::peer::Peer;
use crate::service::Service;

/// Serves the one request of a connection. Returns early when `stopping` while the request has not
/// arrived yet; once it has, it is answered.
pub(crate) async fn serve(
    mut stream: UnixStream,
    peer: Peer,
    service: Arc<Service>,
    calls: Arc<Calls>,
    mut stopping: watch::Receiver<bool>,
) {
    let read = tokio::select! {
        biased;
        read = timeout(READ_LIMIT, read_request(&mut stream)) => read,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    let response = match read {
        Err(_) => {
            log::info!("{peer}: no request within {} s", READ_LIMIT.as_secs());
            return;
        }
        Ok(Err(ReadError::Gone)) => return,
        Ok(Err(ReadError::Frame(error))) => {
            log::warn!("{peer}: bad request: {error}");
            Response::Error(format!("bad request: {error}"))
        }
        Ok(Ok(request)) => {
            match answer(&mut stream, request, peer.clone(), service, &calls).await {
                Some(response) => response,
                None => return,
            }
        }
    };
    let frame = response.encode();
    let sent = timeout(WRITE_LIMIT, finish(&mut stream, &frame));
    match sent.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("{peer}: {error}"),
        Err(_) => log::debug!("{peer}: did not take its answer or close"),
    }
}

enum ReadError {
    /// The peer closed without a request, or broke off.
    Gone,
    /// What came is no request.
    Frame(DecodeError),
}

async fn read_request(stream: &mut UnixStream) -> Result<Request, ReadError> {
    let mut decoder = Decoder::for_request();
    // A request may hold a PIN.
    let mut chunk = Zeroizing::new([0; 4096]);
    // Most requests are there already: that spares a turn of the event loop.
    let mut read = match recv(&*stream, &mut chunk[..], RecvFlags::DONTWAIT) {
        Ok((len, _)) => Ok(len),
        Err(_) => stream.read(&mut chunk[..]).await,
    };
    loop {
        match read {
            Ok(0) if decoder.is_empty() => return Err(ReadError::Gone),
            Ok(0) => return Err(ReadError::Frame(decoder.ended())),
            Err(_) => return Err(ReadError::Gone),
            Ok(len) => match decoder.push(&chunk[..len]) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => {}
                Err(error) => return Err(ReadError::Frame(error)),
            },
        }
        read = stream.read(&mut chunk[..]).await;
    }
}

/// What is still to be sent; none if the answer is on its way.
async fn answer(
    stream: &mut UnixStream,
    request: Request,
    peer: Peer,
    service: Arc<Service>,
    calls: &Calls,
) -> Option<Response> {
    // That the signer is there must show even when every thread waits for a token.
    if let Some(response) = Service::answer_at_once(&request) {
        return Some(response);
    }
    let (lane, limit) = (service.lane(&request), Service::time_limit(&request));
    let name = peer.clone();
    // A socket of its own for the thread, so that it can send what it has without a turn of the
    // event loop; the descriptor is shared with the stream, which stays here.
    let socket = match rustix::io::fcntl_dupfd_cloexec(&*stream, 0) {
        Ok(socket) => socket,
        Err(error) => return Some(Response::Error(format!("out of descriptors: {error}"))),
    };
    let call = calls.run(&lane, limit, move || {
        let response = service.answer(&peer, request);
        let frame = response.encode();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match send(&socket, &frame, flags) {
            Ok(len) if len == frame.len() => {
                let _ = shutdown(&socket, Shutdown::Both);
                None
            }
            // A short count can't be taken back: the rest follows from the event loop.
            Ok(len) => Some(Unsent::Rest(frame[len..].to_vec())),
            Err(_) => Some(Unsent::All(response)),
        }
    });
    match call.await {
        Ok(None) => None,
        Ok(Some(Unsent::All(response))) => Some(response),
        Ok(Some(Unsent::Rest(rest))) => {
            let _ = timeout(WRITE_LIMIT, finish(stream, &rest)).await;
            None
        }
        Err(refused) => {
            let message = match refused {
                Refused::Busy => "too many requests are waiting for this token".to_owned(),
                Refused::Late => format!(
                    "the token did not answer within {} s; it may hang",
                    limit.as_secs()
                ),
            };
            log::warn!("{name}: {message}");
            Some(Response::Error(message))
        }
    }
}

enum Unsent {
    All(Response),
    Rest(Vec<u8>),
}

async fn finish(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    // A peer whose bytes are left unread when the socket is closed would get a reset in place of the
    // answer.
    let mut rest = [0; 1024];
    let mut left = DRAIN_LEN;
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            len => left = left.saturating_sub(len),
        }
    }
    Ok(())
}

/// For a request to arrive. Clients send it at once; this frees what a silent one holds.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// For the client to take its answer and close.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes read and dropped of a client that sends more than its request.
const DRAIN_LEN: usize = 1024 * 1024;
