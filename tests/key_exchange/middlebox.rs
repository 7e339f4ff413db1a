//! Something between a client and a server that can't stand a ClientHello of more than one packet.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it does with a long ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Close,
    Reset,
    /// It says nothing, and keeps the connection.
    Drop,
    /// decode_error: it has read half of it.
    Alert,
    /// It closes whatever comes.
    CloseAll,
    /// It does no harm.
    Pass,
}

pub(crate) struct Middlebox {
    pub(crate) port: u16,
    sizes: Arc<Mutex<Vec<usize>>>,
}

impl Middlebox {
    pub(crate) fn start(target: u16, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(client.unwrap(), target, way, &seen));
            }
        });
        Self { port, sizes }
    }

    /// So many have come with a ClientHello.
    pub(crate) fn connections(&self) -> usize {
        self.sizes.lock().unwrap().len()
    }

    /// The lengths of the ClientHellos, with the record's head.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.sizes.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, target: u16, way: Way, sizes: &Mutex<Vec<usize>>) {
    let mut hello = vec![0; 5];
    if client.read_exact(&mut hello).is_err() {
        return;
    }
    let len = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.resize(5 + len, 0);
    client.read_exact(&mut hello[5..]).unwrap();
    sizes.lock().unwrap().push(hello.len());
    let is_long = hello.len() > 1400;
    match way {
        Way::CloseAll => return,
        Way::Close if is_long => return,
        Way::Reset if is_long => {
            // With what was not read, the kernel resets the connection.
            let _ =
                rustix::net::sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO));
            return;
        }
        Way::Drop if is_long => {
            // Until the client goes.
            let _ = client.read(&mut [0]);
            return;
        }
        Way::Alert if is_long => {
            let _ = client.write_all(&[21, 3, 3, 0, 2, 2, 50]);
            return;
        }
        _ => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)) else {
        return;
    };
    let _ = server.write_all(&hello);
    let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut forth);
        let _ = forth.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(std::net::Shutdown::Write);
}
