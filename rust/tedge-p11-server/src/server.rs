//! Accepts clients until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection;
use crate::listener::Listener;
use crate::service::Service;

/// Serves clients until SIGTERM or SIGINT, then finishes the requests that have arrived.
pub(crate) fn run(listener: Listener, service: Service) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_CALLS)
        .thread_name("pkcs11")
        .build()
        .context("cannot start the runtime")?;
    let service = Arc::new(service);
    let result = runtime.block_on(accept(listener, &service));
    // Calls that still run are those that did not return in time: nobody waits for them.
    runtime.shutdown_background();
    if let Some(service) = Arc::into_inner(service) {
        finalize(service);
    }
    result
}

async fn accept(listener: Listener, service: &Arc<Service>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (listener, _own_socket_file) = listener.into_tokio()?;
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut clients = JoinSet::new();
    notify(&[NotifyState::Ready]);
    loop {
        let place = places.clone().acquire_owned();
        let accepted = tokio::select! {
            accepted = async { (place.await, listener.accept().await) } => accepted,
            Some(_) = clients.join_next() => continue,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        match accepted {
            (place, Ok((stream, _))) => {
                let (service, stopping) = (service.clone(), stopping.clone());
                clients.spawn(async move {
                    connection::serve(stream, service, stopping).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                // Out of file descriptors, most likely. It must not end the service, nor make it
                // spin until some client is done.
                log::warn!("cannot accept a client: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
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

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot notify systemd: {error}");
    }
}

/// Calls on the module at once, each in a thread of its own. More than a token works on at a time,
/// so that a few that never return do not stop the others.
const MAX_CALLS: usize = 32;
/// Clients at once; well below the usual limit of 1,024 file descriptors.
const MAX_CLIENTS: usize = 512;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For C_Finalize.
const FINALIZE_LIMIT: Duration = Duration::from_millis(100);
/// For the requests that run when the signer is told to stop.
const STOP_LIMIT: Duration = Duration::from_millis(800);
