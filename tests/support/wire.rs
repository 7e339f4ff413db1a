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
