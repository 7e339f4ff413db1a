//! A network that can be cut, and slow.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes connections on to another port of this machine.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    open: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
    /// Bytes a second towards the target; 0 is no limit.
    rate: AtomicU64,
    accepted: AtomicU64,
    silent: AtomicBool,
}

impl Proxy {
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if shared.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let mut open = shared.open.lock().unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                    open.push(stream.try_clone().unwrap());
                }
                drop(open);
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let limited = shared.clone();
                std::thread::spawn(move || pass(client, server, &limited, &limited.rate));
                let shared = shared.clone();
                std::thread::spawn(move || pass(back, forth, &shared, &AtomicU64::new(0)));
            }
        });
        Self { port, state }
    }

    /// Breaks all connections.
    pub fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Breaks all connections and takes no new ones, until it is opened again.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn open(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }

    /// Bytes a second towards the target; 0 is no limit.
    pub fn limit(&self, rate: u64) {
        self.state.rate.store(rate, Ordering::SeqCst);
    }

    /// Passes nothing on any more, either way, and ends no connection: a network that is gone without a word.
    pub fn fall_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State, rate: &AtomicU64) {
    let mut chunk = [0; 16 * 1024];
    loop {
        let rate = rate.load(Ordering::SeqCst);
        // A twentieth of a second's share at a time.
        let share = match rate {
            0 => chunk.len(),
            rate => usize::try_from(rate / 20).unwrap().clamp(1, chunk.len()),
        };
        let Ok(len @ 1..) = from.read(&mut chunk[..share]) else {
            break;
        };
        while state.silent.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if to.write_all(&chunk[..len]).is_err() {
            break;
        }
        if rate > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
