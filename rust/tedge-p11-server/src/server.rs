//! Accepts clients until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::calls::{Calls, MAX_THREADS};
use crate::configuration::Configuration;
use crate::connection;
use crate::limits::{Limits, Place};
use crate::listener::Listener;
use crate::peer::{Peer, Peers};
use crate::service::Service;

/// Serves clients until SIGTERM or SIGINT, then finishes the requests that have arrived. On SIGHUP,
/// `reload` gives a new configuration; if it can't, the old one stays.
pub(crate) fn run(
    listener: Listener,
    service: Service,
    reload: impl Fn() -> anyhow::Result<Configuration>,
) -> anyhow::Result<()> {
    // One thread for all sockets: what takes time is in the threads of the calls. More threads made
    // it slower, since every request would wake one more of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_THREADS)
        .thread_name("pkcs11")
        .build()
        .context("cannot start the runtime")?;
    let service = Arc::new(service);
    let result = runtime.block_on(accept(listener, &service, reload));
    // Calls that still run are those that did not return in time: nobody waits for them.
    runtime.shutdown_background();
    if let Some(service) = Arc::into_inner(service) {
        finalize(service);
    }
    result
}

async fn accept(
    listener: Listener,
    service: &Arc<Service>,
    reload: impl Fn() -> anyhow::Result<Configuration>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (listener, _own_socket_file) = listener.into_tokio()?;
    let (stop, stopping) = watch::channel(false);
    let calls = Arc::new(Calls::default());
    let limits = Limits::default();
    let mut peers = Peers::default();
    let mut clients = JoinSet::new();
    let mut heartbeat = tokio::time::interval(heartbeat_interval());
    notify(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some((peer, place)) = admit(&stream, &mut peers, &limits) {
                        let (service, calls) = (service.clone(), calls.clone());
                        let stopping = stopping.clone();
                        clients.spawn(async move {
                            connection::serve(stream, peer, service, calls, stopping).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    // Out of file descriptors, most likely. It must not end the service, nor make
                    // it spin until some client is done.
                    log::warn!("cannot accept a client: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = clients.join_next() => {}
            _ = heartbeat.tick() => beat(service, &calls),
            _ = hangup.recv() => reconfigure(service, &reload),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    log::info!("stopping");
    notify(&[NotifyState::Stopping]);
    drop(listener);
    stop.send_replace(true);
    let finished = timeout(STOP_LIMIT, async {
        while clients.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        log::warn!(
            "gave up {} requests that the token did not finish",
            clients.len()
        );
    }
    Ok(())
}

/// Who it is, and a place for the connection; none closes it.
fn admit(stream: &UnixStream, peers: &mut Peers, limits: &Limits) -> Option<(Peer, Place)> {
    let peer = match peers.identify(stream) {
        Ok(peer) => peer,
        Err(error) => {
            log::warn!("a client without credentials: {error}");
            return None;
        }
    };
    let place = limits.admit(peer.uid);
    if place.is_none() {
        log::warn!("{peer}: too many connections");
    }
    Some((peer, place?))
}

/// Tells systemd how it goes, and that it goes on, unless a call hangs for good.
fn beat(service: &Service, calls: &Calls) {
    let status = service.status();
    if calls.longest() > HUNG {
        log::error!("a call on the module does not return: waiting for the watchdog");
        notify(&[NotifyState::Status("a call on the module hangs")]);
    } else {
        notify(&[NotifyState::Status(&status), NotifyState::Watchdog]);
    }
}

fn reconfigure(service: &Service, reload: &impl Fn() -> anyhow::Result<Configuration>) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    match reload() {
        Ok(configuration) => {
            service.configure(configuration);
            service.set_reload_error(None);
            log::info!("configuration read again");
        }
        Err(error) => {
            log::error!("the old configuration stays: {error:#}");
            service.set_reload_error(Some(format!("{error:#}")));
        }
    }
    notify(&[NotifyState::Ready, NotifyState::Status(&service.status())]);
}

/// C_Finalize may block as any call may: it is given a moment, not the power to delay the end.
fn finalize(service: Service) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        service.finalize();
        let _ = sender.send(());
    });
    if receiver.recv_timeout(FINALIZE_LIMIT).is_err() {
        log::warn!("the module did not finish in time");
    }
}

/// Twice as often as the watchdog asks for, and often enough for the status.
fn heartbeat_interval() -> Duration {
    sd_notify::watchdog_enabled().map_or(STATUS_INTERVAL, |limit| (limit / 2).min(STATUS_INTERVAL))
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("cannot notify systemd: {error}");
    }
}

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// A call that takes longer than any key generation never returns.
const HUNG: Duration = Duration::from_secs(180);
/// For C_Finalize.
const FINALIZE_LIMIT: Duration = Duration::from_millis(100);
/// For the requests that run when the signer is told to stop.
const STOP_LIMIT: Duration = Duration::from_millis(800);
