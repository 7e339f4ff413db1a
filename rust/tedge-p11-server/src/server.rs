//! Serves clients until told to stop.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tedge_daemon::Notifier;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::configuration::Configuration;
use crate::front::acceptors::Acceptors;
use crate::front::connection;
use crate::front::listener::Listener;
use crate::queue::calls::{Calls, MAX_THREADS};
use crate::service::Service;

/// Serves clients until SIGTERM or SIGINT, then finishes the requests that have arrived. On SIGHUP,
/// `reload` gives a new configuration; if it can't, the old one stays.
pub(crate) fn run(
    listener: Listener,
    service: Service,
    reload: impl Fn() -> anyhow::Result<Configuration>,
) -> anyhow::Result<()> {
    // One thread for all that has to wait; what can be done at once is in the accepting threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_THREADS)
        .thread_keep_alive(KEEP_ALIVE)
        .thread_name("pkcs11")
        .build()
        .context("cannot start the runtime")?;
    // Without a thread to fall back on, a machine that is out of threads would make tokio panic.
    runtime.spawn_blocking(|| {});
    let service = Arc::new(service);
    let result = runtime.block_on(serve(listener, &service, reload));
    // Calls that still run are those that did not return in time: nobody waits for them.
    runtime.shutdown_background();
    if !finalize(service) && result.is_ok() {
        leave();
    }
    result
}

async fn serve(
    listener: Listener,
    service: &Arc<Service>,
    reload: impl Fn() -> anyhow::Result<Configuration>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (listener, own_socket_file) = listener.into_parts();
    let (stop, stopping) = watch::channel(false);
    let calls = Arc::new(Calls::default());
    let (sender, mut handed_over) = mpsc::unbounded_channel();
    let acceptors = Acceptors::start(listener, service.clone(), calls.clone(), sender)?;
    let mut late = tokio::time::interval(LATE_INTERVAL);
    let mut clients = JoinSet::new();
    let mut heartbeat = tokio::time::interval(heartbeat_interval());
    let notifier = Notifier::start().context("cannot start a thread")?;
    notifier.tell(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            Some(client) = handed_over.recv() => {
                let (service, calls) = (service.clone(), calls.clone());
                clients.spawn(connection::serve(client, service, calls, stopping.clone()));
            }
            _ = late.tick() => {
                calls.tell_late(|peer, operation, since| service.late(peer, operation, since));
                service.flush_log();
            }
            Some(_) = clients.join_next() => {}
            _ = heartbeat.tick() => beat(service, &calls, &notifier),
            _ = hangup.recv() => reconfigure(service, &reload, &notifier),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    log::info!("stopping");
    notifier.tell(&[NotifyState::Stopping]);
    drop(own_socket_file);
    stop.send_replace(true);
    let finished = timeout(STOP_LIMIT, async {
        while clients.join_next().await.is_some() {}
        // Those threads can't be asked to tell: it is they who do without the event loop.
        while acceptors.are_busy() {
            sleep(BUSY_PAUSE).await;
        }
    });
    if finished.await.is_err() {
        log::warn!("gave up requests that the token did not finish");
    }
    Ok(())
}

/// Tells systemd how it goes, and that it goes on, unless a call hangs for good.
fn beat(service: &Service, calls: &Calls, notifier: &Notifier) {
    let status = service.status();
    if calls.longest() > HUNG {
        log::error!("a call on the module does not return: waiting for the watchdog");
        notifier.tell(&[NotifyState::Status("a call on the module hangs")]);
    } else {
        notifier.tell(&[NotifyState::Status(&status), NotifyState::Watchdog]);
    }
}

fn reconfigure(
    service: &Service,
    reload: &impl Fn() -> anyhow::Result<Configuration>,
    notifier: &Notifier,
) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notifier.tell(&[NotifyState::Reloading, now]);
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
    notifier.tell(&[NotifyState::Ready, NotifyState::Status(&service.status())]);
}

/// C_Finalize may block as any call may: it is given a moment, not the power to delay the end. False if it goes on.
fn finalize(service: Arc<Service>) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || {
        service.finalize();
        let _ = sender.send(());
    });
    if let Err(error) = thread {
        log::warn!("no thread to finish the module in: {error}");
        return true;
    }
    let finished = receiver.recv_timeout(FINALIZE_LIMIT).is_ok();
    if !finished {
        log::warn!("the module did not finish in time");
    }
    finished
}

/// Ends the process at once, with success. A module's destructors, which an ordinary end runs, may wait for ever for
/// the call that goes on (SoftHSM2's do). exec(2) ends all threads and runs none of them: this same program, asked for
/// its version, takes the place.
fn leave() {
    // exec(2) ends the thread that writes the log, too.
    log::logger().flush();
    let mut program = Command::new("/proc/self/exe");
    program.arg("--version").stdin(Stdio::null());
    let error = program.stdout(Stdio::null()).stderr(Stdio::null()).exec();
    log::warn!("cannot end at once: {error}");
}

/// Twice as often as the watchdog asks for, and often enough for the status.
fn heartbeat_interval() -> Duration {
    sd_notify::watchdog_enabled().map_or(STATUS_INTERVAL, |limit| (limit / 2).min(STATUS_INTERVAL))
}

/// Threads for calls stay: there are as many as were ever needed at once.
const KEEP_ALIVE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How exact the time limit of a call is.
const LATE_INTERVAL: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(5);
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// A call that takes longer than any key generation never returns.
const HUNG: Duration = Duration::from_secs(180);
/// For C_Finalize.
const FINALIZE_LIMIT: Duration = Duration::from_millis(100);
/// For the requests that run when the signer is told to stop.
const STOP_LIMIT: Duration = Duration::from_millis(800);
