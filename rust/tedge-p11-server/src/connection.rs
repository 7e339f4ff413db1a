//! One client: reads its request, answers it, closes.

use std::sync::Arc;
use std::time::Duration;

use tedge_p11_protocol::{DecodeError, Decoder, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::service::Service;

/// Serves the one request of a connection. Returns early when `stopping` while the request has not
/// arrived yet; once it has, it is answered.
pub(crate) async fn serve(
    mut stream: UnixStream,
    service: Arc<Service>,
    mut stopping: watch::Receiver<bool>,
) {
    let peer = Peer::of(&stream);
    let read = tokio::select! {
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
        Ok(Ok(request)) => answer(service, request, &peer).await,
    };
    let sent = timeout(WRITE_LIMIT, async {
        stream.write_all(&response.encode()).await?;
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

enum ReadError {
    /// The peer closed without a request, or broke off.
    Gone,
    /// What came is no request.
    Frame(DecodeError),
}

async fn read_request(stream: &mut UnixStream) -> Result<Request, ReadError> {
    let mut decoder = Decoder::for_request();
    let mut chunk = zeroizing_chunk();
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

/// The module's calls block, so they get a thread of their own. A call that never returns keeps its
/// thread, but not its client.
async fn answer(service: Arc<Service>, request: Request, peer: &Peer) -> Response {
    let name = Service::name(&request);
    // That the signer is there must show even when every thread waits for a token.
    if let Some(response) = Service::answer_at_once(&request) {
        return response;
    }
    let mut call = tokio::task::spawn_blocking(move || service.answer(request));
    let answer = match timeout(ANSWER_LIMIT, &mut call).await {
        Ok(Ok(answer)) => answer,
        // A panic ends the process before it gets here.
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            // If no thread has taken it up yet, none must do so for a client that is gone.
            call.abort();
            Err(format!(
                "the token did not answer within {} s",
                ANSWER_LIMIT.as_secs()
            ))
        }
    };
    match answer {
        Ok(response) => {
            log::debug!("{peer}: {name}: done");
            response
        }
        Err(error) => {
            log::warn!("{peer}: {name}: {error}");
            Response::Error(error)
        }
    }
}

/// Who is at the other end, for the log.
struct Peer(Option<(i32, u32)>);

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        Self(credentials.map(|c| (c.pid().unwrap_or_default(), c.uid())))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some((pid, uid)) => write!(f, "client pid {pid} uid {uid}"),
            None => f.write_str("client"),
        }
    }
}

/// A request may hold a PIN.
fn zeroizing_chunk() -> zeroize::Zeroizing<[u8; 4096]> {
    zeroize::Zeroizing::new([0; 4096])
}

/// For a request to arrive. Clients send it at once; this frees what a silent one holds.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// For the token. RSA-4096 key generation takes a TPM half a minute at worst.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// For the client to take its answer and close.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes read and dropped of a client that sends more than its request.
const DRAIN_LEN: usize = 1024 * 1024;
