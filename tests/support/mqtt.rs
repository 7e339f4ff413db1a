//! MQTT clients that lose nothing: they connect again, and publish again what was not acknowledged.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, Packet, PubAck, Publish, Subscribe};
use rumqttc::mqttbytes::{Error, QoS};

/// Topic and payload.
pub type Message = (String, Vec<u8>);

/// A connection to a broker on this machine, without TLS.
pub struct Mqtt {
    /// Of TCP or UNIX.
    stream: File,
    received: BytesMut,
}

impl Mqtt {
    /// With a persistent session.
    pub fn connect(port: u16, client_id: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Self::connect_over(OwnedFd::from(stream), client_id)
    }

    /// The same over a UNIX socket of the broker's.
    pub fn connect_unix(socket: &Path, client_id: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Self::connect_over(OwnedFd::from(stream), client_id)
    }

    fn connect_over(stream: OwnedFd, client_id: &str) -> io::Result<Self> {
        let mut mqtt = Self {
            stream: File::from(stream),
            received: BytesMut::new(),
        };
        let mut connect = Connect::new(client_id);
        connect.clean_session = false;
        connect.keep_alive = 0;
        mqtt.send(&[Packet::Connect(connect)])?;
        match mqtt.receive()? {
            Packet::ConnAck(_) => Ok(mqtt),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    pub fn send(&mut self, packets: &[Packet]) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        for packet in packets {
            packet
                .write(&mut bytes, usize::MAX)
                .map_err(io::Error::other)?;
        }
        self.stream.write_all(&bytes)
    }

    /// What rumqttc does not write.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn receive(&mut self) -> io::Result<Packet> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match Packet::read(&mut self.received, usize::MAX) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            let len = self.stream.read(&mut chunk)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Else a broker with Nagle's algorithm waits up to 40 ms before it sends on, and what is
            // measured is this client.
            // A UNIX socket has no such thing.
            let _ = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
            self.received.extend_from_slice(&chunk[..len]);
        }
    }

    pub fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(&[Packet::Subscribe(subscribe)])
    }

    /// The next message, acknowledged.
    pub fn message(&mut self) -> io::Result<Publish> {
        loop {
            if let Packet::Publish(publish) = self.receive()? {
                if publish.qos != QoS::AtMostOnce {
                    self.send(&[Packet::PubAck(PubAck::new(publish.pkid))])?;
                }
                return Ok(publish);
            }
        }
    }
}

/// Publishes messages with QoS 1, in order, whatever happens to the broker.
pub fn publish_all(port: u16, client_id: &str, messages: &[Message]) {
    for batch in messages.chunks(BATCH) {
        insist(|| {
            let mut mqtt = Mqtt::connect(port, client_id)?;
            publish_batch(&mut mqtt, batch)
        });
    }
}

/// Publishes over one connection, as fast as the broker acknowledges: there is always something on its way.
pub fn publish_over(mqtt: &mut Mqtt, messages: &[Message]) -> io::Result<()> {
    let mut in_flight = 0;
    for (number, batch) in messages.chunks(BATCH).enumerate() {
        // Two batches are in flight at a time.
        mqtt.send(&publishes(batch, number % 2 * BATCH))?;
        in_flight += batch.len();
        while in_flight > BATCH {
            in_flight -= usize::from(matches!(mqtt.receive()?, Packet::PubAck(_)));
        }
    }
    while in_flight > 0 {
        in_flight -= usize::from(matches!(mqtt.receive()?, Packet::PubAck(_)));
    }
    Ok(())
}

fn publish_batch(mqtt: &mut Mqtt, batch: &[Message]) -> io::Result<()> {
    mqtt.send(&publishes(batch, 0))?;
    let mut acknowledged = 0;
    while acknowledged < batch.len() {
        if let Packet::PubAck(_) = mqtt.receive()? {
            acknowledged += 1;
        }
    }
    Ok(())
}

/// With the packet identifiers that follow `last_id`.
fn publishes(batch: &[Message], last_id: usize) -> Vec<Packet> {
    (u16::try_from(last_id).unwrap() + 1..)
        .zip(batch)
        .map(|(id, (topic, payload))| {
            let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload.clone());
            publish.pkid = id;
            Packet::Publish(publish)
        })
        .collect()
}

/// Receives whatever matches a filter, in a thread of its own, and keeps it.
pub struct Subscriber {
    messages: Arc<Mutex<Vec<Message>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribed when it returns.
    pub fn start(port: u16, client_id: &str, filter: &str) -> Self {
        let messages: Arc<Mutex<Vec<_>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut connection = Mqtt::connect(port, client_id).unwrap();
        connection.subscribe(filter).unwrap();
        assert!(matches!(connection.receive().unwrap(), Packet::SubAck(_)));
        let (kept, stopped, id) = (messages.clone(), stop.clone(), client_id.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match connection.message() {
                    Ok(message) => kept
                        .lock()
                        .unwrap()
                        .push((message.topic, message.payload.to_vec())),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => connection = insist(|| Mqtt::connect(port, &id)),
                }
            }
        });
        Self {
            messages,
            stop,
            thread: Some(thread),
        }
    }

    pub fn len(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    /// Waits until a message satisfies `wanted`.
    pub fn await_message(&self, what: &str, wanted: impl Fn(&str, &str) -> bool) -> String {
        await_some(what, || {
            let messages = self.messages.lock().unwrap();
            messages.iter().rev().find_map(|(topic, payload)| {
                let payload = String::from_utf8_lossy(payload);
                wanted(topic, &payload).then(|| payload.into_owned())
            })
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Polls until there is a value.
pub fn await_some<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tries until it works.
fn insist<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    let mut last = None;
    await_some("an MQTT client's connection", || {
        attempt().map_err(|error| last = Some(error)).ok()
    })
}

const BATCH: usize = 50;
/// How long a quiet connection is listened to before it is looked whether to stop.
const PATIENCE: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(120);
