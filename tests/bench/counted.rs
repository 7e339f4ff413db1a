//! A connection whose bytes are counted.

use std::io::{self, Read, Write};
use std::net::TcpStream;

pub struct Counted {
    socket: TcpStream,
    pub sent: usize,
    pub received: usize,
}

impl Counted {
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            sent: 0,
            received: 0,
        }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.socket.read(buffer)?;
        self.received += len;
        Ok(len)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.socket.write(bytes)?;
        self.sent += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
