//! The threads that accept clients, and answer at once what is there to be answered.
//!
//! A signature in software takes 60 us, and waking a thread about as long, so what decides is how many
//! threads wake for a request. Measured with one client on SoftHSM2 and two cores, as shares of C_Sign
//! in one process: an event loop that hands each call to another thread reached about 30 %, this 40 to
//! 50 % (docs/performance.md). Here the thread that accepts a client reads its request and calls the module
//! itself. What it can't do at once goes to the event loop: a client that is slow to send, a token with
//! too many calls, and everything while it is the last thread that accepts and there can be no more.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tedge_p11_config::Peer;
use tedge_p11_protocol::{Decoder, Request};
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroize as _;

use crate::front::connection::{Client, Next};
use crate::front::peer::Peers;
use crate::queue::calls::Calls;
use crate::queue::lane::LANE_WIDTH;
use crate::queue::lanes::Taken;
use crate::queue::limits::Place;
use crate::service::{Service, time_limit};

/// What the accepting threads share.
#[derive(Debug)]
pub(crate) struct Acceptors {
    listener: UnixListener,
    service: Arc<Service>,
    calls: Arc<Calls>,
    peers: Peers,
    event_loop: UnboundedSender<Client>,
    /// Threads there are.
    threads: AtomicUsize,
    /// Threads that wait for a client, or are about to.
    waiting: AtomicUsize,
    /// Threads that answer one.
    busy: AtomicUsize,
    /// Of a call that one of the threads has made.
    last_end: Mutex<Instant>,
    last_complaint: Mutex<Option<Instant>>,
}

impl Acceptors {
    /// Starts the first threads; more come when all are busy. They live as long as the process.
    pub(crate) fn start(
        listener: UnixListener,
        service: Arc<Service>,
        calls: Arc<Calls>,
        event_loop: UnboundedSender<Client>,
    ) -> io::Result<Arc<Self>> {
        listener.set_nonblocking(false)?;
        let acceptors = Arc::new(Self {
            listener,
            service,
            calls,
            peers: Peers::default(),
            event_loop,
            threads: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            last_end: Mutex::new(Instant::now()),
            last_complaint: Mutex::default(),
        });
        for _ in 0..FIRST_THREADS {
            acceptors.add_thread()?;
        }
        Ok(acceptors)
    }

    /// Whether some thread is answering a client.
    pub(crate) fn are_busy(&self) -> bool {
        self.busy.load(SeqCst) > 0
    }

    /// Starts one more thread, unless there are enough; tells whether it did. Each costs some 70 KiB: its
    /// stack, and what malloc and OpenSSL keep for it.
    fn add_thread(self: &Arc<Self>) -> io::Result<bool> {
        let may_grow = |threads| (threads < THREADS).then_some(threads + 1);
        let Ok(number) = self.threads.fetch_update(SeqCst, SeqCst, may_grow) else {
            return Ok(false);
        };
        self.waiting.fetch_add(1, SeqCst);
        let acceptors = self.clone();
        let started = std::thread::Builder::new()
            .name("accept".to_owned())
            .stack_size(STACK_SIZE)
            .spawn(move || acceptors.run(number >= LANE_WIDTH as usize));
        if started.is_err() {
            self.waiting.fetch_sub(1, SeqCst);
            self.threads.fetch_sub(1, SeqCst);
        }
        started.map(|_| true)
    }

    /// The life of one thread: it accepts a client, does for it what can be done at once, and accepts the next one.
    /// A `spare` thread does the same, but only while the other threads are held up by their calls, or while
    /// several users want their turn.
    fn run(self: &Arc<Self>, spare: bool) {
        loop {
            if spare {
                self.wait_while_calls_are_quick();
            }
            let accepted = self.listener.accept();
            let others = self.waiting.fetch_sub(1, SeqCst) - 1;
            match accepted {
                Ok((stream, _)) => {
                    self.busy.fetch_add(1, SeqCst);
                    let client = self.welcome(stream, others);
                    // This thread counts as waiting before the client has its answer. The client may send its next
                    // request at once, and whoever accepts it must not start a thread more than needed. What this
                    // thread still has to do takes no time.
                    self.waiting.fetch_add(1, SeqCst);
                    if let Some(client) = client {
                        self.finish(client);
                    }
                    self.busy.fetch_sub(1, SeqCst);
                }
                Err(error) => {
                    self.complain(&error);
                    std::thread::sleep(ACCEPT_PAUSE);
                    self.waiting.fetch_add(1, SeqCst);
                }
            }
        }
    }

    /// Does what may have to wait: reading the request, and the call on the module. `others` is how many other threads wait for clients.
    fn welcome(self: &Arc<Self>, stream: UnixStream, others: usize) -> Option<Client> {
        let (peer, place) = self.admit(&stream)?;
        let stream = Arc::new(stream);
        let mut decoder = Decoder::for_request();
        let begun = Instant::now();
        let (read, len) = read(&stream, &mut decoder, place.may_wait);
        if place.may_wait && begun.elapsed() > PROMPT {
            place.kept_waiting();
        }
        let next = match read {
            Read::Request(request) => self.answer(&stream, &peer, &place, request, others),
            Read::Wrong(error) => Some(Next::Refuse(error)),
            Read::Slow => Some(Next::Read(decoder)),
            Read::Gone => None,
        };
        take(&stream, len);
        let next = next?;
        Some(Client {
            // Not shared: the call, if there was one, has ended.
            stream: Arc::into_inner(stream)?,
            peer,
            place,
            next,
        })
    }

    /// Sends what can be sent at once. The rest is for the event loop.
    fn finish(&self, mut client: Client) {
        if let Next::Send(frame) = &mut client.next {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = send(&client.stream, frame, flags).unwrap_or(0);
            if sent == frame.len() {
                return;
            }
            frame.drain(..sent);
        }
        // Fails only while the process ends.
        let _ = self.event_loop.send(client);
    }

    /// Calls the module, if that is needed and there is a turn. None if the client has been told already.
    fn answer(
        self: &Arc<Self>,
        stream: &Arc<UnixStream>,
        peer: &Peer,
        place: &Place,
        request: Request,
        others: usize,
    ) -> Option<Next> {
        let response = match self.service.sort(peer, place, request, &self.calls) {
            Err(response) => response,
            Ok(call) => {
                // Somebody must be left to accept, whatever becomes of this call.
                let others = others > 0 || self.add_thread().unwrap_or(false);
                if !others {
                    return Some(Next::Answer(call));
                }
                let turn = match self.calls.take(&self.service.queued(peer, &call)) {
                    Taken::Turn(turn) => turn,
                    Taken::Wait => return Some(Next::Answer(call)),
                    Taken::Full(full) => {
                        return Some(Next::Send(self.service.crowd(peer, full).encode()));
                    }
                };
                let operation = call.operation();
                let limit = time_limit(operation);
                let running = self.calls.begin(stream, peer, operation, limit);
                let response = self.service.answer(peer, call);
                drop(turn);
                *self.last_end() = Instant::now();
                if !running.end() {
                    // Too late: the client has been told.
                    return None;
                }
                response
            }
        };
        Some(Next::Send(response.encode()))
    }

    /// While calls end quickly, the threads that make them take the next client from the socket's queue
    /// themselves; one more thread could only hand clients over, which costs more. Only with several users it has
    /// to: the socket's queue is first come, first served over connections, and a user may have 200 of them. In
    /// the lane's queue users take turns.
    fn wait_while_calls_are_quick(&self) {
        while self.last_end().elapsed() < QUICK && !self.service.has_several_users() {
            std::thread::sleep(QUICK);
        }
    }

    fn last_end(&self) -> MutexGuard<'_, Instant> {
        self.last_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who it is, and a place for the connection; none closes it.
    fn admit(&self, stream: &UnixStream) -> Option<(Peer, Place)> {
        let configuration = self.service.configuration();
        let peer = match self.peers.identify(stream, configuration.policy()) {
            Ok(peer) => peer,
            Err(error) => {
                log::warn!("a client without credentials: {error}");
                return None;
            }
        };
        let place = self.service.admit(&peer, configuration.policy())?;
        Some((peer, place))
    }

    /// Out of file descriptors, most likely. It must not end the service, nor fill the journal.
    fn complain(&self, error: &io::Error) {
        let mut last = self
            .last_complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > COMPLAINT_PAUSE) {
            *last = Some(Instant::now());
            drop(last);
            log::warn!("cannot accept a client: {error}");
        }
    }
}

enum Read {
    Request(Request),
    Wrong(tedge_p11_protocol::DecodeError),
    /// It goes on, or has not begun.
    Slow,
    Gone,
}

/// Waits for a moment if it `may_wait`: the client has connected and is just about to send. Tells how many bytes
/// are there, which are left where they are: see [`take`]. Not inlined, because its buffer would stay on the stack,
/// below all that the module puts there.
#[inline(never)]
fn read(stream: &UnixStream, decoder: &mut Decoder<Request>, may_wait: bool) -> (Read, usize) {
    let mut flags = RecvFlags::PEEK;
    if !may_wait {
        flags |= RecvFlags::DONTWAIT;
    } else if set_socket_timeout(stream, Timeout::Recv, Some(MOMENT)).is_err() {
        return (Read::Slow, 0);
    }
    let mut chunk = [0; CHUNK];
    let len = match recv(stream, &mut chunk, flags) {
        Ok((0, _)) => return (Read::Gone, 0),
        Ok((len, _)) => len,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return (Read::Slow, 0),
        Err(_) => return (Read::Gone, 0),
    };
    let read = match decoder.push(&chunk[..len]) {
        Ok(Some(request)) => Read::Request(request),
        Ok(None) => Read::Slow,
        Err(error) => Read::Wrong(error),
    };
    // A request may hold a PIN.
    chunk[..len].zeroize();
    (read, len)
}

/// Takes what was read from the socket. That wakes a client that waits for its answer, since it has room to
/// send more; so it comes just before the answer, which wakes it as well. (4 or 16 clients on SoftHSM2 and
/// two cores got 5 % of the floor more by it.)
#[inline(never)]
fn take(stream: &UnixStream, len: usize) {
    if len > 0 {
        let mut chunk = [0; CHUNK];
        let _ = recv(stream, &mut chunk[..len], RecvFlags::DONTWAIT);
        chunk[..len].zeroize();
    }
}

/// Of a request that is read at once.
const CHUNK: usize = 4096;
/// Two more than a lane has places, so that a token which hangs leaves one to answer and one to accept.
const THREADS: usize = LANE_WIDTH as usize + 2;
/// Enough for clients that come one after another.
const FIRST_THREADS: usize = 2;
/// Between the ends of two calls: longer than a signature in software, shorter than one in a TPM.
const QUICK: Duration = Duration::from_millis(2);
const STACK_SIZE: usize = 512 * 1024;
/// For a client that has just connected to send its request.
const MOMENT: Duration = Duration::from_millis(5);
/// A client that lets a thread wait for longer has it noted: see [`Place::kept_waiting`].
const PROMPT: Duration = Duration::from_millis(1);
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);
