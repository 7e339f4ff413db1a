//! A frame out of a stream that brings it in pieces.

use std::marker::PhantomData;

use zeroize::Zeroizing;

use crate::codec::{self, DecodeError, Reader, Wire};
use crate::frame::{Request, Response};

/// Longest request in bytes. What a client signs in TLS 1.3 has 130 to 146 bytes (RFC 8446, section
/// 4.4.3); in TLS 1.2 it is the whole handshake so far, of which the certificate chains are the
/// bulk: 10 to 20 KiB for a long one.
pub const MAX_REQUEST_LEN: usize = 64 * 1024;

/// Longest response in bytes: a list of some 4,000 keys.
pub const MAX_RESPONSE_LEN: usize = 1024 * 1024;

/// Collects the bytes of one frame and tells when it is complete; the end of the stream need not be
/// awaited. What was collected is wiped when the decoder is dropped.
pub struct Decoder<F> {
    buffer: Zeroizing<Vec<u8>>,
    /// With fewer bytes than this, the frame can't be complete.
    needed: usize,
    limit: usize,
    frame: PhantomData<F>,
}

impl Decoder<Request> {
    /// For what a client sends, at most [`MAX_REQUEST_LEN`] bytes of it.
    #[must_use]
    pub fn for_request() -> Self {
        Self::new(MAX_REQUEST_LEN)
    }
}

impl Decoder<Response> {
    /// For what a signer answers, at most [`MAX_RESPONSE_LEN`] bytes of it.
    #[must_use]
    pub fn for_response() -> Self {
        Self::new(MAX_RESPONSE_LEN)
    }
}

#[allow(private_bounds)] // sealed: frames are those of this crate
impl<F: Wire> Decoder<F> {
    fn new(limit: usize) -> Self {
        Self {
            buffer: Zeroizing::new(Vec::new()),
            needed: 1,
            limit,
            frame: PhantomData,
        }
    }

    /// Adds the bytes that have just arrived. `Ok(None)` means that the frame goes on.
    ///
    /// A frame that is too long is refused before the bytes beyond the limit are buffered, and as
    /// soon as a length in it says that it will be. After an error the decoder is of no more use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<F>, DecodeError> {
        if bytes.len() > self.limit - self.buffer.len() {
            return Err(DecodeError::TooLong(self.limit));
        }
        self.append(bytes);
        // Every failed attempt tells how many bytes are missing at least, so that a frame which
        // comes byte by byte is not decoded from its start at every byte.
        if self.buffer.len() < self.needed {
            return Ok(None);
        }
        let mut reader = Reader::new(&self.buffer, self.limit);
        match F::decode(&mut reader) {
            Ok(frame) if reader.remaining() == 0 => Ok(Some(frame)),
            Ok(_) => Err(DecodeError::TrailingBytes(reader.remaining())),
            Err(DecodeError::Incomplete(missing)) => {
                self.needed = self.buffer.len() + missing;
                if self.needed > self.limit {
                    return Err(DecodeError::TooLong(self.limit));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What to report when the stream ended although the frame goes on.
    #[must_use]
    pub fn ended(&self) -> DecodeError {
        DecodeError::Incomplete(self.needed.saturating_sub(self.buffer.len()))
    }

    /// Whether not a single byte has arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Like `extend_from_slice`, but wipes the old place when the buffer moves.
    fn append(&mut self, bytes: &[u8]) {
        let len = self.buffer.len() + bytes.len();
        if len > self.buffer.capacity() {
            let mut larger =
                Zeroizing::new(Vec::with_capacity(len.max(2 * self.buffer.capacity())));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(bytes);
    }
}

impl Request {
    /// The frame as it goes on the wire, in a vector that is wiped when dropped.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }
}

impl Response {
    /// The frame as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }
}
