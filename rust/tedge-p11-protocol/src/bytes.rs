//! Bytes in a frame.

use std::fmt;

use crate::codec::{DecodeError, Reader, Wire, Writer};

/// Bytes whose `Debug` shows their number only: what is signed must not end up in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Wire for Bytes {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        out.put_bytes(&self.0);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.take_bytes().map(|bytes| Self(bytes.to_vec()))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}
