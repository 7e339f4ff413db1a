//! A connection whose handshakes are done, read and written without waiting.

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Buf as _, BytesMut};
use rustls::ClientConnection;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::connect::Socket as BlockingSocket;

/// A connection to a broker. What is to be written is collected, and goes out in few pieces.
pub(crate) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    outgoing: BytesMut,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Takes over a socket that was waited for until now.
    pub(crate) fn new(
        socket: BlockingSocket,
        tls: Option<Box<ClientConnection>>,
    ) -> io::Result<Self> {
        let socket = match socket {
            BlockingSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Socket::Tcp(TcpStream::from_std(socket)?)
            }
            BlockingSocket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Socket::Unix(UnixStream::from_std(socket)?)
            }
        };
        Ok(Self {
            socket,
            tls,
            outgoing: BytesMut::new(),
        })
    }

    /// Waits until there is something to be read, or room for what is to be written.
    pub(crate) async fn ready(&self) -> io::Result<Ready> {
        let interest = if self.has_outgoing() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        match &self.socket {
            Socket::Tcp(socket) => socket.ready(interest).await,
            Socket::Unix(socket) => socket.ready(interest).await,
        }
    }

    /// Appends what has arrived, up to about `limit` bytes. The end of the stream is an error.
    pub(crate) fn read(&mut self, into: &mut BytesMut, limit: usize) -> io::Result<usize> {
        let before = into.len();
        while into.len() - before < limit {
            let result = match &mut self.tls {
                None => read_plain(&self.socket, into),
                Some(tls) => read_tls(&self.socket, tls, into),
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What came before the end counts.
                Err(_) if into.len() > before => break,
                Err(error) => return Err(error),
            }
        }
        Ok(into.len() - before)
    }

    /// Where packets are written to.
    pub(crate) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes as much as there is room for, and returns whether that was anything.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let mut progress = false;
        loop {
            let result = match &mut self.tls {
                None if self.outgoing.is_empty() => return Ok(progress),
                None => Io(&self.socket)
                    .write(&self.outgoing)
                    .map(|len| self.outgoing.advance(len)),
                Some(tls) => {
                    // It takes as much as its own buffer has room for.
                    let len = tls.writer().write(&self.outgoing)?;
                    self.outgoing.advance(len);
                    if !tls.wants_write() {
                        return Ok(progress);
                    }
                    tls.write_tls(&mut Io(&self.socket)).map(drop)
                }
            };
            match result {
                Ok(()) => progress = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(progress),
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        // The broker notices either way.
        let _ = self.flush();
    }
}

fn read_plain(socket: &Socket, into: &mut BytesMut) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    let len = Io(socket).read(&mut chunk)?;
    if len == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    into.extend_from_slice(&chunk[..len]);
    Ok(())
}

fn read_tls(socket: &Socket, tls: &mut ClientConnection, into: &mut BytesMut) -> io::Result<()> {
    if tls.read_tls(&mut Io(socket))? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let state = tls.process_new_packets().map_err(io::Error::other)?;
    let available = state.plaintext_bytes_to_read();
    let start = into.len();
    into.resize(start + available, 0);
    tls.reader().read_exact(&mut into[start..])?;
    if available == 0 && state.peer_has_closed() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// What rustls reads from and writes to.
struct Io<'a>(&'a Socket);

impl Read for Io<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {
            Socket::Tcp(socket) => socket.try_read(buffer),
            Socket::Unix(socket) => socket.try_read(buffer),
        }
    }
}

impl Write for Io<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.0 {
            Socket::Tcp(socket) => socket.try_write(buffer),
            Socket::Unix(socket) => socket.try_write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const CHUNK: usize = 16 * 1024;
