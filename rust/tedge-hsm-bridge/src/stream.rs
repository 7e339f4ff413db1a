//! A connection whose handshakes are done, read and written without waiting.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncReadExt as _, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::connect::BlockingSocket;

/// A connection to a broker. What is to be written is collected, and goes out in few pieces.
pub(crate) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    outgoing: BytesMut,
    /// Whether something was read after the last write, which TCP has perhaps not acknowledged.
    owes_ack: bool,
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
            owes_ack: false,
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
                None => read_plain(&mut self.socket, into),
                Some(tls) => read_tls(&mut self.socket, tls, into),
            };
            match result {
                Ok(()) => self.owes_ack = true,
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
                None => Io(&mut self.socket)
                    .write(&self.outgoing)
                    .map(|len| self.outgoing.advance(len)),
                Some(tls) => {
                    // It takes as much as its own buffer has room for.
                    let len = tls.writer().write(&self.outgoing)?;
                    self.outgoing.advance(len);
                    if !tls.wants_write() {
                        return Ok(progress);
                    }
                    tls.write_tls(&mut Io(&mut self.socket)).map(drop)
                }
            };
            match result {
                Ok(()) => {
                    progress = true;
                    // It went along.
                    self.owes_ack = false;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(progress),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has TCP acknowledge what was read. It would wait some 40 ms for something to send along; a peer with
    /// Nagle's algorithm, as mosquitto is by default, waits for it before it sends on.
    pub(crate) fn settle(&mut self) {
        if let (true, Socket::Tcp(socket)) = (self.owes_ack, &self.socket) {
            // Else it is slower, nothing more.
            let _ = socket.set_quickack(true);
        }
        self.owes_ack = false;
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

fn read_plain(socket: &mut Socket, into: &mut BytesMut) -> io::Result<()> {
    into.reserve(CHUNK);
    let mut context = Context::from_waker(Waker::noop());
    let result = match socket {
        Socket::Tcp(socket) => pin!(socket.read_buf(into)).poll(&mut context),
        Socket::Unix(socket) => pin!(socket.read_buf(into)).poll(&mut context),
    };
    match result {
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        Poll::Ready(Ok(0)) => Err(ErrorKind::UnexpectedEof.into()),
        Poll::Ready(result) => result.map(drop),
    }
}

fn read_tls(
    socket: &mut Socket,
    tls: &mut ClientConnection,
    into: &mut BytesMut,
) -> io::Result<()> {
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
struct Io<'a>(&'a mut Socket);

impl Read for Io<'_> {
    /// Tokio's way to read, unlike `try_read`, knows that nothing is left when less came than there was room
    /// for: that saves the call that would only say so. Who waits, waits for [`Stream::ready`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = ReadBuf::new(buffer);
        let result = match self.0 {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(&mut context, &mut buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(&mut context, &mut buffer),
        };
        match result {
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
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

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {
            Socket::Tcp(socket) => socket.try_write_vectored(buffers),
            Socket::Unix(socket) => socket.try_write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const CHUNK: usize = 16 * 1024;
