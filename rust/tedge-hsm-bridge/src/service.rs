//! All profiles, and systemd.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sd_notify::NotifyState;
use tedge_daemon::Notifier;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::bridge::Bridge;
use crate::health::Report;
use crate::profile::Configuration;

/// Carries messages until SIGTERM or SIGINT.
pub(crate) fn run(configuration: Configuration) -> anyhow::Result<()> {
    // One thread for all messages; those that connect are threads of their own, two for each profile and
    // one for a look at the key.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(3 * configuration.len() + 1)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_name("connect")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(configuration));
    // An attempt to connect that still runs is nobody's any more.
    runtime.shutdown_background();
    result
}

async fn serve(configuration: Configuration) -> anyhow::Result<()> {
    let notifier = Notifier::start().context("cannot start a thread")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopping) = watch::channel(false);
    let (changed, mut change) = watch::channel(());
    let mut bridges = JoinSet::new();
    let mut reports = Vec::new();
    for profile in configuration {
        let (sender, report) = watch::channel(Report::default());
        reports.push((profile.name.clone(), report.clone()));
        bridges.spawn(Bridge::new(profile, sender).run(stopping.clone()));
        bridges.spawn(pass_on(report, changed.clone()));
    }
    let mut heartbeat = tokio::time::interval(heartbeat_interval());
    let mut patience = pin!(sleep(READY_LIMIT));
    let (mut ready, mut complete) = (false, false);
    let mut told = String::new();
    loop {
        tokio::select! {
            _ = heartbeat.tick() => notifier.tell(&[NotifyState::Watchdog]),
            _ = change.changed() => {}
            () = &mut patience, if !ready => {
                ready = true;
                log::warn!("some brokers are not connected yet; the bridge tells systemd that it is ready, because other units wait for it");
                notifier.tell(&[NotifyState::Ready]);
            }
            _ = bridges.join_next() => bail!("internal error: a bridge ended"),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        if !complete && reports.iter().all(|(_, report)| report.borrow().is_up()) {
            complete = true;
            log::info!("all brokers are connected");
            if !ready {
                ready = true;
                notifier.tell(&[NotifyState::Ready]);
            }
        }
        let now = status(&reports);
        if now != told {
            notifier.tell(&[NotifyState::Status(&now)]);
            told = now;
        }
    }
    log::info!("stopping");
    notifier.tell(&[NotifyState::Stopping]);
    stop.send_replace(true);
    let finished = timeout(STOP_LIMIT, async {
        while bridges.join_next().await.is_some() {}
    });
    let _ = finished.await;
    log::info!("{}", status(&reports));
    Ok(())
}

/// Until the bridge is gone.
async fn pass_on(mut report: watch::Receiver<Report>, changed: watch::Sender<()>) {
    while report.changed().await.is_ok() {
        changed.send_replace(());
    }
}

fn status(reports: &[(String, watch::Receiver<Report>)]) -> String {
    let lines = reports
        .iter()
        .map(|(name, report)| format!("{name}: {}", report.borrow().line()));
    lines.collect::<Vec<_>>().join(" | ")
}

/// Twice as often as the watchdog asks for.
fn heartbeat_interval() -> Duration {
    sd_notify::watchdog_enabled().map_or(IDLE, |limit| limit / 2)
}

/// For the brokers to be connected. A boot is not over while a unit is starting, nor is `systemctl start`: a
/// device that is offline would wait for ever, and one with A/B updates would take its new system for bad.
const READY_LIMIT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(2);
