//! A TCP connection with a limit for each exchange as a whole: a peer that sends a byte now and then ends the wait
//! no later than one that is silent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tedge_proxy::{Proxy, ProxyError};

/// A connection on which reading and writing end with [`TimedOut`](ErrorKind::TimedOut) at a deadline.
#[derive(Debug)]
pub(crate) struct TimedStream {
    tcp: TcpStream,
    limit: Duration,
    deadline: Instant,
    /// Until the peer has said something.
    first_answer: Option<Instant>,
}

impl TimedStream {
    /// Looks the host up and tries every address of it; the last failure is reported. From here on, to the
    /// first [`restart`](Self::restart), all ends at `deadline`; each exchange after that takes `limit` at most.
    pub(crate) fn connect(
        host: &str,
        port: u16,
        limit: Duration,
        deadline: Instant,
    ) -> io::Result<Self> {
        let addresses = look_up(host, port, left(deadline)?)?;
        Self::connect_any(&addresses, limit, deadline)
    }

    /// The same for a host that was looked up.
    pub(crate) fn connect_any(
        addresses: &[SocketAddr],
        limit: Duration,
        deadline: Instant,
    ) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for (address, count) in addresses.iter().zip((1..=addresses.len()).rev()) {
            // One that does not answer leaves time for the others.
            let share = left(deadline)? / u32::try_from(count).unwrap_or(u32::MAX);
            match TcpStream::connect_timeout(address, share.max(SHORTEST)) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(Self {
                        tcp,
                        limit,
                        deadline,
                        first_answer: None,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Has the proxy that it is connected to connect to a host, before the deadline.
    pub(crate) fn open_tunnel(
        &self,
        proxy: &Proxy,
        host: &str,
        port: u16,
    ) -> Result<(), ProxyError> {
        proxy.open_tunnel(&self.tcp, host, port, self.deadline)
    }

    /// The next exchange begins.
    pub(crate) fn restart(&mut self) {
        self.deadline = Instant::now() + self.limit;
    }

    /// The peer has to say something within half of the time that is left, so that there is some for another attempt.
    pub(crate) fn halve_until_answered(&mut self) {
        let half = self.deadline.saturating_duration_since(Instant::now()) / 2;
        self.first_answer = Some(Instant::now() + half);
    }

    /// It ends at `limit` from now, or before.
    pub(crate) fn shorten(&mut self, limit: Duration) {
        self.deadline = self.deadline.min(Instant::now() + limit);
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = self.first_answer.unwrap_or(self.deadline);
        self.tcp.set_read_timeout(Some(left(deadline)?))?;
        let len = self.tcp.read(buffer)?;
        self.first_answer = None;
        Ok(len)
    }
}

impl Write for TimedStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(left(self.deadline)?))?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// The resolver has limits of its own, which no caller can set.
fn look_up(host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let host = host.to_owned();
    std::thread::spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        // Nobody waits for it any more if this fails.
        let _ = sender.send(found.map(Iterator::collect));
    });
    receiver
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// connect_timeout takes no zero.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_peer_that_sends_now_and_then_ends_the_wait_no_later() {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Where all is slow, as on an emulated device, it may take a while to connect, or until the peer sends.
        let long = Duration::from_secs(60);
        let deadline = Instant::now() + long;
        let mut stream = TimedStream::connect("localhost", port, long, deadline).unwrap();
        stream.limit = Duration::from_millis(300);
        stream.restart();
        let (mut peer, _) = listener.accept().unwrap();
        let peer = std::thread::spawn(move || {
            let mut sent = 0;
            while sent < 600 && peer.write_all(b"x").is_ok() {
                sent += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            sent
        });
        let mut received = Vec::new();
        // Without a deadline it would come to the end of what the peer sends.
        let error = stream.read_to_end(&mut received).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock
        ));
        stream.limit = long;
        stream.restart();
        stream.read_exact(&mut [0]).unwrap();
        drop(stream);
        assert!(peer.join().unwrap() < 600);
    }
}
