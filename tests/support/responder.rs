//! The other side of a cloud's protocol over MQTT: a client of a broker that answers requests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};

use crate::mqtt::{Message, Mqtt, await_some};

/// What answers a request: topic and payload in, messages out.
pub type Answers = dyn FnMut(&str, &[u8]) -> Vec<Answer> + Send;

/// A message, and how long it takes until it is sent.
pub struct Answer {
    pub after: Duration,
    pub message: Message,
}

impl Answer {
    pub fn now(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            after: Duration::ZERO,
            message: (topic.into(), payload.into()),
        }
    }
}

/// A thread that answers, until it is dropped.
pub struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Subscribed when it returns. The broker listens on the UNIX socket `socket`.
    pub fn start(socket: &Path, filters: &[&str], mut answers: Box<Answers>) -> Self {
        let mut mqtt = Mqtt::connect_unix(socket, "responder").unwrap();
        for filter in filters {
            mqtt.subscribe(filter).unwrap();
            assert!(matches!(mqtt.receive().unwrap(), Packet::SubAck(_)));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut id = 0;
            while !stopped.load(Ordering::Relaxed) {
                let Ok(request) = mqtt.message() else {
                    continue;
                };
                for answer in answers(&request.topic, &request.payload) {
                    std::thread::sleep(answer.after);
                    let (topic, payload) = answer.message;
                    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
                    id = id % 1000 + 1;
                    publish.pkid = id;
                    mqtt.send(&[Packet::Publish(publish)]).unwrap();
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until the broker's UNIX socket is there.
pub fn await_socket(socket: &Path) {
    await_some("the broker's socket", || {
        std::os::unix::net::UnixStream::connect(socket).ok()
    });
}
