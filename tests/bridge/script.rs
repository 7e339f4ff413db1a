//! A broker that is a script: it does what mosquitto can't be made to do.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use support::mqtt::await_some;
use support::{Bridge, Ca};

use crate::rig::Rig;

/// The types of packets (MQTT 3.1.1, chapter 2.2.1), with the flags that they have.
pub const CONNECT: u8 = 0x10;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const SUBSCRIBE: u8 = 0x82;
pub const PINGREQ: u8 = 0xc0;

/// Where a bridge connects to.
pub struct Script {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Script {
    /// A local broker, and a bridge that has it.
    pub fn local(rig: &Rig, more: &str) -> (Self, Bridge) {
        let script = Self::listen(None);
        let config = rig.config(more).replace(
            &format!("[local]\nport = {}\n", rig.local.port),
            &format!("[local]\nack_timeout = 5\nport = {}\n", script.port()),
        );
        assert!(config.contains(&script.port().to_string()), "{config}");
        let bridge = Bridge::spawn(rig.dir(), &config);
        (script, bridge)
    }

    /// A cloud, and a bridge that has it.
    pub fn cloud(rig: &Rig, more: &str) -> (Self, Bridge) {
        let script = Self::listen(Some(&rig.ca));
        let config = rig.config(&format!("ack_timeout = 5\n{more}")).replace(
            &format!("port = {}\n", rig.proxy.port),
            &format!("port = {}\n", script.port()),
        );
        assert!(config.contains(&script.port().to_string()), "{config}");
        let bridge = Bridge::spawn(rig.dir(), &config);
        (script, bridge)
    }

    fn listen(ca: Option<&Ca>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let tls = ca.map(|ca| {
            let certificate = |name| CertificateDer::from_pem_file(ca.file(name)).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(certificate("ca.pem")).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .unwrap();
            let key = PrivateKeyDer::from_pem_file(ca.file("localhost.key")).unwrap();
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_client_cert_verifier(verifier)
                .with_single_cert(vec![certificate("localhost.pem")], key)
                .unwrap();
            Arc::new(config)
        });
        Self { listener, tls }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// A connection of the bridge's, before anything was said.
    pub fn accept(&self) -> Connection {
        let (stream, _) = await_some("the bridge to connect", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        Connection(match &self.tls {
            None => Box::new(stream),
            Some(config) => Box::new(StreamOwned::new(
                ServerConnection::new(config.clone()).unwrap(),
                stream,
            )),
        })
    }

    /// The same, with its CONNECT answered.
    pub fn connect(&self, session_present: bool) -> Connection {
        let mut connection = self.accept();
        assert_eq!(connection.read().unwrap().0, CONNECT);
        connection.write(&[0x20, 2, session_present.into(), 0]);
        connection
    }

    /// The same, with its subscriptions made.
    pub fn subscribe(&self) -> Connection {
        let mut connection = self.connect(false);
        let subscribe = connection.await_packet(SUBSCRIBE);
        connection.suback(&subscribe, 1);
        connection
    }
}

trait Stream: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// A connection of the bridge's.
pub struct Connection(Box<dyn Stream>);

impl Connection {
    /// The first byte of a packet, and what comes after its length.
    pub fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut byte = || {
            let mut byte = [0];
            self.0.read_exact(&mut byte).map(|()| byte[0])
        };
        let (kind, mut len) = (byte()?, 0);
        for shift in (0..).step_by(7) {
            let part = byte()?;
            len |= usize::from(part & 0x7f) << shift;
            if part < 0x80 {
                break;
            }
        }
        let mut rest = vec![0; len];
        self.0.read_exact(&mut rest)?;
        Ok((kind, rest))
    }

    /// The next packet of that type; pings are answered.
    pub fn await_packet(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let (kind, rest) = self.read().unwrap();
            if kind & 0xf0 == wanted & 0xf0 {
                return rest;
            }
            if kind == PINGREQ {
                self.write(&[0xd0, 0]);
            }
        }
    }

    /// Takes all messages, answers pings, and acknowledges what is `acknowledged` by topic and payload, until the
    /// bridge ends the connection. Returns the messages, with their first bytes.
    pub fn serve(&mut self, acknowledged: impl Fn(&[u8]) -> bool) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Ok((kind, rest)) = self.read() {
            match kind & 0xf0 {
                PINGREQ => self.write(&[0xd0, 0]),
                PUBLISH if kind & 6 != 0 => {
                    let id = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    let message = [&rest[2..id], &rest[id + 2..]].concat();
                    if acknowledged(&message) {
                        self.write(&[PUBACK, 2, rest[id], rest[id + 1]]);
                    }
                    messages.push((kind, message));
                }
                _ => {}
            }
        }
        messages
    }

    /// Answers a SUBSCRIBE, for one filter, with that code.
    pub fn suback(&mut self, subscribe: &[u8], code: u8) {
        self.write(&[0x90, 3, subscribe[0], subscribe[1], code]);
    }

    /// A PUBLISH with this topic, QoS 1 and the packet identifier `id`.
    pub fn publish(&mut self, topic: &[u8], id: u8, payload: &[u8]) {
        let len = u16::try_from(topic.len()).unwrap().to_be_bytes();
        let body = [&len, topic, &[0, id], payload].concat();
        let mut packet = vec![0x32];
        let mut rest = body.len();
        while rest >= 0x80 {
            packet.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        packet.push(u8::try_from(rest).unwrap());
        packet.extend(body);
        self.write(&packet);
    }

    /// Sends the same packet again and again, and reads nothing, until the bridge takes no more of it for some
    /// seconds, or has taken `most` bytes. Returns how many it has taken; the last packet may lack its end.
    pub fn flood(&mut self, packet: &[u8], most: usize) -> usize {
        let limit = Some(Duration::from_secs(5));
        self.0.tcp().set_write_timeout(limit).unwrap();
        let (mut sent, block) = (0, packet.repeat(64 * 1024));
        while sent < most {
            let at = sent % packet.len();
            match self.0.write(&block[at..]) {
                Ok(len) => sent += len,
                Err(_) => break,
            }
        }
        self.0.tcp().set_write_timeout(None).unwrap();
        sent
    }

    /// What the bridge has ended meanwhile takes nothing.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
        let _ = self.0.flush();
    }
}
