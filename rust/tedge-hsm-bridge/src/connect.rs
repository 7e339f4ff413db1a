//! Makes a connection: address, TLS, MQTT. All of it waits, the signer and the HSM behind it included, so
//! it has a thread of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, LastWill, Login, Packet};
use rustls::{ClientConnection, ProtocolVersion};
use tedge_file::MAX_CERTIFICATES;

use crate::error::{ConnectError, explain};
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
    /// For the log.
    pub(crate) description: String,
    /// As it was when the connection was made.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// A socket that is waited for.
pub(crate) enum BlockingSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects; takes up to a minute, and longer only if the signer does.
pub(crate) fn connect(
    broker: &Broker,
    tls: Option<&Tls>,
    will: Option<LastWill>,
) -> Result<Connected, ConnectError> {
    let login = login(broker)?;
    let certificate = tls.and_then(|tls| tedge_file::read(&tls.cert, MAX_CERTIFICATES).ok());
    // Before anything goes to the network: without the key there is no point.
    let identity = tls.map(Identity::load).transpose()?;
    let mut stream = Waiting {
        socket: open(&broker.address)?,
        tls: None,
        deadline: Instant::now() + LIMIT,
    };
    if let (Some(tls), Some(identity)) = (tls, &identity) {
        let connection = ClientConnection::new(identity.config.clone(), tls.name.clone())
            .map_err(|error| ConnectError::Tls(error.to_string()))?;
        stream.tls = Some(Box::new(connection));
        let result = stream.handshake();
        // The HSM's share of it has its own limit.
        stream.deadline = Instant::now() + LIMIT;
        if let Some(failure) = identity.failure() {
            return Err(failure);
        }
        result.map_err(|error| ConnectError::Tls(explain(&error)))?;
    }
    let mut connect = Connect::new(&broker.client_id);
    connect.keep_alive = broker.keep_alive;
    connect.clean_session = false;
    connect.last_will = will;
    connect.login = login;
    let mut received = BytesMut::new();
    let ConnAck {
        session_present,
        code,
    } = stream
        .say(&connect)
        .and_then(|()| stream.hear(&mut received))
        .map_err(|error| ConnectError::NoAnswer(explain(&error)))?;
    match code {
        ConnectReturnCode::Success => {}
        code => return Err(ConnectError::Refused(refusal(code))),
    }
    let description = describe(stream.tls.as_deref());
    Ok(Connected {
        socket: stream.socket,
        tls: stream.tls,
        received,
        session_present,
        description,
        certificate,
    })
}

fn login(broker: &Broker) -> Result<Option<Login>, ConnectError> {
    let password = match &broker.password_file {
        None => String::new(),
        Some(path) => {
            let failed = |error| ConnectError::Password(path.display().to_string(), error);
            let text = tedge_file::read_text(path, MAX_PASSWORD).map_err(failed)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let username = broker.username.clone().unwrap_or_default();
    Ok((!username.is_empty()).then(|| Login::new(username, password)))
}

/// Tries every address of the host; the last failure is reported.
fn open(address: &Address) -> Result<BlockingSocket, ConnectError> {
    match address {
        Address::Unix(path) => UnixStream::connect(path)
            .map(BlockingSocket::Unix)
            .map_err(|error| ConnectError::Socket(path.display().to_string(), error)),
        Address::Tcp(host, port) => {
            let failed = |error| ConnectError::Socket(format!("{host} port {port}"), error);
            let addresses = (host.as_str(), *port).to_socket_addrs().map_err(failed)?;
            let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
            for address in addresses {
                match TcpStream::connect_timeout(&address, TCP_LIMIT) {
                    Ok(stream) => {
                        stream.set_nodelay(true).map_err(failed)?;
                        return Ok(BlockingSocket::Tcp(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(failed(last))
        }
    }
}

/// A connection on which this thread waits, up to a deadline.
struct Waiting {
    socket: BlockingSocket,
    tls: Option<Box<ClientConnection>>,
    deadline: Instant,
}

impl Waiting {
    fn handshake(&mut self) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush()?;
            if self.tls.as_ref().is_some_and(|tls| tls.wants_read()) {
                self.fill()?;
            }
        }
        self.flush()
    }

    fn say(&mut self, connect: &Connect) -> io::Result<()> {
        let mut packet = BytesMut::new();
        connect.write(&mut packet).map_err(io::Error::other)?;
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(&packet)?,
            None => self.socket.write_all(&packet)?,
        }
        self.flush()
    }

    fn hear(&mut self, received: &mut BytesMut) -> io::Result<ConnAck> {
        loop {
            match Packet::read(received, CONNACK_LIMIT) {
                Ok(Packet::ConnAck(ack)) => return Ok(ack),
                Ok(_) => return Err(io::Error::other("it sent something else first")),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(io::Error::other(error)),
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
        let left = self.deadline.saturating_duration_since(Instant::now());
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

fn describe(tls: Option<&ClientConnection>) -> String {
    match tls.map(|tls| tls.protocol_version()) {
        None => "without TLS".to_owned(),
        Some(Some(ProtocolVersion::TLSv1_3)) => "TLS 1.3".to_owned(),
        Some(Some(ProtocolVersion::TLSv1_2)) => "TLS 1.2".to_owned(),
        Some(_) => "TLS".to_owned(),
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "no reason",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not take the client id",
        ConnectReturnCode::ServiceUnavailable => "it is not available",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => "not authorised",
    }
}

/// For an address to answer.
const TCP_LIMIT: Duration = Duration::from_secs(10);
/// For TLS, and again for MQTT.
const LIMIT: Duration = Duration::from_secs(30);
/// MQTT 3.1.1, section 3.1.3.5: a password has a length of two bytes.
const MAX_PASSWORD: usize = 65535;
/// A CONNACK has 4 bytes.
const CONNACK_LIMIT: usize = 16;

/// What a side needs to connect, shared with the thread that does it.
pub(crate) type Endpoint = Arc<(Broker, Option<Tls>, Option<LastWill>)>;
