//! Makes a connection: address, TLS, MQTT. All of it waits, the signer and the HSM behind it included, so
//! it has a thread of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, LastWill, Login};
use rustls::{ClientConfig, ClientConnection};
use tedge_file::MAX_CERTIFICATES;
use tedge_p11_client::{TlsFailure, connect_within};
use tedge_tls::{Unmet, got_no_answer};

use crate::error::{ConnectError, explain};
use crate::handshake::Handshake;
use crate::packet;
use crate::profile::{Address, Broker, Tls};
use crate::tls::Identity;

/// A broker that has accepted the client.
pub(crate) struct Connected {
    pub(crate) socket: BlockingSocket,
    pub(crate) tls: Option<Box<ClientConnection>>,
    /// What came behind the CONNACK.
    pub(crate) received: BytesMut,
    /// Whether the broker has kept the session.
    pub(crate) session_present: bool,
    /// What TLS came to; none without TLS.
    pub(crate) handshake: Option<Handshake>,
    /// Whether the first ClientHello got no answer, so that there was another one without X25519MLKEM768.
    pub(crate) is_second: bool,
    /// Whether the broker was asked for the RETAIN flag as published, and has not refused.
    pub(crate) as_published: bool,
    /// As it was when the connection was made.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// A socket that is waited for.
pub(crate) enum BlockingSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects; takes up to two minutes, more through a proxy or where a ClientHello gets no answer, and longer only if the
/// signer does. With `as_published` the broker is asked to leave the RETAIN flag of what it sends as it was published; one
/// that refuses that is connected to without.
pub(crate) fn connect(endpoint: &Endpoint, as_published: bool) -> Result<Connected, ConnectError> {
    if !as_published {
        return connect_once(endpoint, MQTT_3_1_1);
    }
    match connect_once(endpoint, MQTT_3_1_1 | BRIDGE) {
        Err(ConnectError::Refused(ConnectReturnCode::RefusedProtocolVersion)) => {
            connect_once(endpoint, MQTT_3_1_1)
        }
        // A broker may close the connection over what it does not know, and also when it is about to end: only one
        // that takes the one and again closes the other is refusing.
        Err(ConnectError::Closed) => {
            drop(connect_once(endpoint, MQTT_3_1_1)?);
            match connect_once(endpoint, MQTT_3_1_1 | BRIDGE) {
                Err(ConnectError::Closed) => connect_once(endpoint, MQTT_3_1_1),
                result => result,
            }
        }
        result => result,
    }
}

fn connect_once(endpoint: &Endpoint, level: u8) -> Result<Connected, ConnectError> {
    let (broker, tls, will) = &**endpoint;
    let login = login(broker)?;
    let certificate =
        (tls.as_ref()).and_then(|tls| tedge_file::read(&tls.cert, MAX_CERTIFICATES).ok());
    // Before anything goes to the network: without the key there is no point.
    let identity = tls.as_ref().map(Identity::load).transpose()?;
    let (mut stream, is_second) = match (tls, &identity) {
        (Some(tls), Some(identity)) => secure(broker, tls, identity)?,
        _ => (Waiting::new(open(broker)?, Instant::now() + LIMIT), false),
    };
    let scheme = identity.as_ref().and_then(Identity::scheme);
    // The HSM's share of it has its own limit.
    stream.deadline = Instant::now() + broker.ack_timeout;
    let mut connect = Connect::new(&broker.client_id);
    connect.keep_alive = broker.keep_alive;
    connect.clean_session = false;
    connect.last_will.clone_from(will);
    connect.login = login;
    let mut received = BytesMut::new();
    let ConnAck {
        session_present,
        code,
    } = stream
        .say(&connect, level)
        .and_then(|()| stream.hear(&mut received))
        .map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                ConnectError::Closed
            }
            _ => ConnectError::NoAnswer(explain(&error)),
        })?;
    match code {
        ConnectReturnCode::Success => {}
        code => return Err(ConnectError::Refused(code)),
    }
    let tls = stream.tls.as_deref();
    Ok(Connected {
        handshake: tls.map(|tls| Handshake::of(tls, scheme)),
        is_second,
        socket: stream.socket,
        tls: stream.tls,
        received,
        session_present,
        as_published: level != MQTT_3_1_1,
        certificate,
    })
}

/// A connection with TLS. If there is no answer to the ClientHello, there is one more attempt, without X25519MLKEM768,
/// unless that is required; then the second of what is returned is true.
fn secure(
    broker: &Broker,
    tls: &Tls,
    identity: &Identity,
) -> Result<(Waiting, bool), ConnectError> {
    let mut stream = Waiting::new(open(broker)?, Instant::now() + LIMIT);
    if identity.second.is_some() {
        stream.first_answer = Some(Instant::now() + LIMIT / 2);
    }
    let error = match stream.handshake(&identity.config, tls, identity) {
        Ok(()) => return Ok((stream, false)),
        Err(failure) => match (&identity.second, failure) {
            (Some(second), HandshakeFailure::NoAnswer(error)) => {
                // A broker that is gone by now has said why.
                let Ok(socket) = open(broker) else {
                    return Err(error);
                };
                stream = Waiting::new(socket, Instant::now() + LIMIT);
                match stream.handshake(second, tls, identity) {
                    Ok(()) => return Ok((stream, true)),
                    Err(failure) => failure,
                }
            }
            (_, failure) => failure,
        },
    };
    Err(error.into())
}

/// Why a handshake failed.
enum HandshakeFailure {
    /// The broker said nothing.
    NoAnswer(ConnectError),
    Other(ConnectError),
}

impl From<HandshakeFailure> for ConnectError {
    fn from(failure: HandshakeFailure) -> Self {
        let (HandshakeFailure::NoAnswer(error) | HandshakeFailure::Other(error)) = failure;
        error
    }
}

/// What the broker is told of the user.
pub(crate) fn login(broker: &Broker) -> Result<Option<Login>, ConnectError> {
    let password = match &broker.password_file {
        None => String::new(),
        Some(path) => {
            let failed = |error| ConnectError::Password {
                path: path.clone(),
                error,
            };
            let text = tedge_file::read_private_text(path, MAX_PASSWORD).map_err(failed)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let username = broker.username.clone().unwrap_or_default();
    Ok((!username.is_empty()).then(|| Login::new(username, password)))
}

/// A socket that the broker is at the other end of, through the proxy if there is one.
fn open(broker: &Broker) -> Result<BlockingSocket, ConnectError> {
    match &broker.address {
        Address::Unix(path) => open_unix(path)
            .map(BlockingSocket::Unix)
            .map_err(|error| ConnectError::Socket(path.display().to_string(), error)),
        Address::Tcp(host, port) => {
            let target = || format!("{host} port {port}");
            let Some(proxy) = &broker.proxy else {
                let tcp = open_tcp(host, *port);
                return tcp
                    .map(BlockingSocket::Tcp)
                    .map_err(|error| ConnectError::Socket(target(), error));
            };
            // Only the proxy looks the broker's name up.
            let tcp = open_tcp(proxy.address().host(), proxy.address().port())
                .map_err(|error| ConnectError::ToProxy(proxy.to_string(), error))?;
            proxy
                .open_tunnel(&tcp, host, *port, Instant::now() + LIMIT)
                .map_err(|error| ConnectError::Proxy(target(), error))?;
            Ok(BlockingSocket::Tcp(tcp))
        }
    }
}

/// Tries every address of the host; the last failure is reported.
fn open_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TCP_LIMIT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// With a limit, as for TCP: the broker may hang, and its backlog be full.
fn open_unix(path: &Path) -> io::Result<UnixStream> {
    connect_within(path, TCP_LIMIT).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => io::Error::new(ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    })
}

/// A connection on which this thread waits, up to a deadline.
struct Waiting {
    socket: BlockingSocket,
    tls: Option<Box<ClientConnection>>,
    deadline: Instant,
    /// Until the broker has said something.
    first_answer: Option<Instant>,
}

impl Waiting {
    fn new(socket: BlockingSocket, deadline: Instant) -> Self {
        Self {
            socket,
            tls: None,
            deadline,
            first_answer: None,
        }
    }

    /// The client's side of TLS.
    fn handshake(
        &mut self,
        config: &Arc<ClientConfig>,
        tls: &Tls,
        identity: &Identity,
    ) -> Result<(), HandshakeFailure> {
        let connection =
            ClientConnection::new(config.clone(), tls.name.clone()).map_err(|error| {
                let failure = TlsFailure::of(&error, &[]).sentence();
                HandshakeFailure::Other(ConnectError::Tls(failure))
            })?;
        self.tls = Some(Box::new(connection));
        let result = self.shake_hands();
        if let Some(failure) = identity.failure() {
            return Err(HandshakeFailure::Other(failure));
        }
        let (Err(error), Some(connection)) = (result, &self.tls) else {
            return Ok(());
        };
        let sentence = match tls.post_quantum.unmet(connection, &error) {
            Some(Unmet { what, cure }) => format!("{what}; {cure}"),
            None => identity.verifier.explain(&error).sentence(),
        };
        Err(if got_no_answer(connection, &error) {
            HandshakeFailure::NoAnswer(ConnectError::Tls(sentence))
        } else {
            HandshakeFailure::Other(ConnectError::Tls(sentence))
        })
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush()?;
            if self.tls.as_ref().is_some_and(|tls| tls.wants_read()) {
                self.fill()?;
            }
        }
        self.flush()
    }

    /// Sends a CONNECT, with this protocol level.
    fn say(&mut self, connect: &Connect, level: u8) -> io::Result<()> {
        let mut packet = BytesMut::new();
        connect.write(&mut packet).map_err(io::Error::other)?;
        // Behind the remaining length, whose last byte has no continuation bit, and the protocol name.
        let remaining_len = packet.iter().skip(1).take_while(|byte| **byte >= 0x80);
        let at = 2 + remaining_len.count() + PROTOCOL_NAME_LEN;
        packet[at] = level;
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(&packet)?,
            None => self.socket.write_all(&packet)?,
        }
        self.flush()
    }

    fn hear(&mut self, received: &mut BytesMut) -> io::Result<ConnAck> {
        loop {
            if let Some(ack) = packet::connack(received).map_err(io::Error::other)? {
                return Ok(ack);
            }
            if self.tls.is_some() {
                self.fill()?;
                self.drain(received)?;
            } else {
                self.limit()?;
                let mut chunk = [0; 64];
                let len = self.socket.read(&mut chunk)?;
                if len == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                received.extend_from_slice(&chunk[..len]);
            }
        }
    }

    /// Takes all that rustls has decrypted: nobody would be told of what is left there.
    fn drain(&mut self, received: &mut BytesMut) -> io::Result<()> {
        let mut chunk = [0; 4096];
        while let Some(tls) = &mut self.tls {
            match tls.reader().read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => received.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads TLS records once.
    fn fill(&mut self) -> io::Result<()> {
        self.limit()?;
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        if tls.read_tls(&mut self.socket)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.first_answer = None;
        if let Err(error) = tls.process_new_packets() {
            // The alert; that it arrives is not essential.
            let _ = tls.write_tls(&mut self.socket);
            return Err(io::Error::other(error));
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.limit()?;
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Lets the next reads and writes take as long as there is left.
    fn limit(&self) -> io::Result<()> {
        let deadline = self.first_answer.unwrap_or(self.deadline);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_timeouts(Some(left))
    }
}

impl BlockingSocket {
    fn set_timeouts(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                socket.set_read_timeout(limit)?;
                socket.set_write_timeout(limit)
            }
            Self::Unix(socket) => {
                socket.set_read_timeout(limit)?;
                socket.set_write_timeout(limit)
            }
        }
    }
}

impl Read for BlockingSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for BlockingSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(buffer),
            Self::Unix(socket) => socket.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For an address to answer.
const TCP_LIMIT: Duration = Duration::from_secs(10);
/// For the proxy, for TLS, and again for MQTT.
const LIMIT: Duration = Duration::from_secs(30);
/// MQTT 3.1.1, section 3.1.3.5: a password has a length of two bytes.
const MAX_PASSWORD: usize = 65535;
/// The protocol level of MQTT 3.1.1 (section 3.1.2.2).
const MQTT_3_1_1: u8 = 4;
/// What bridges set in the protocol level, so that a broker sends them the RETAIN flag as it was published, and not
/// what they have published themselves. It is no part of MQTT 3.1.1; mosquitto knows it.
const BRIDGE: u8 = 0x80;
/// Length and text, in bytes.
const PROTOCOL_NAME_LEN: usize = 6;

/// What a side needs to connect, shared with the thread that does it.
pub(crate) type Endpoint = Arc<(Broker, Option<Tls>, Option<LastWill>)>;
