//! Bytes on the signer's socket, as thin-edge.io's client sends them: one frame, shut down, read to
//! the end.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tedge_p11_protocol::{Decoder, Request, Response};

/// Sends a request and reads the answer to the end of the stream.
pub fn ask(socket: &Path, request: &Request) -> Response {
    answer(&exchange(socket, &request.encode()))
}

/// The same where the signer may close the connection without an answer.
pub fn try_ask(socket: &Path, request: &Request) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(&request.encode())?;
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let frame = Decoder::for_response().push(&bytes);
    let cut_off = std::io::ErrorKind::UnexpectedEof;
    frame.ok().flatten().ok_or_else(|| cut_off.into())
}

/// Sends bytes and returns all that comes back.
pub fn exchange(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(socket);
    // The signer may stop reading before the last byte.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    read_to_end(&mut stream)
}

pub fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

pub fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The one frame in `bytes`.
pub fn answer(bytes: &[u8]) -> Response {
    Decoder::for_response()
        .push(bytes)
        .unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
        .unwrap_or_else(|| panic!("the answer is cut off: {bytes:?}"))
}
