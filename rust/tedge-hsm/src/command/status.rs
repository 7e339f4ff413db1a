//! `status`: how the running signer is.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tedge_p11_client::{Client, Status, TimeLimits, TokenStatus};

use crate::certificate;
use crate::identity::Identity;
use crate::output::{present, say};
use crate::pin_state::pin;
use crate::place::Place;
use crate::root::Root;
use crate::rotation::record::{Record, unix_time};
use crate::settings_file::Moved;
use crate::{file, metrics};

/// Show signer health: tokens, counters, signature times.
///
/// Asks the signer at the socket. The answer needs no call on the PKCS#11 module, so it comes even
/// while a token hangs. The exit code is 1 if something needs attention: a token that fails, a call that
/// does not return, a configuration that could not be reloaded, a certificate that has expired or
/// could not be renewed, a new key that the broker or CA refuses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What --json prints is in docs/json.md.

Examples:
  tedge-hsm status
  tedge-hsm status --json | jq .problems
  tedge-hsm status --metrics /var/lib/prometheus/node-exporter/tedge-hsm.prom")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Write metrics in the text format of Prometheus to FILE, whole or not at all, or to standard output; ends with 0, also
    /// when no signer answers
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    #[allow(clippy::option_option)] // with or without a value
    metrics: Option<Option<PathBuf>>,
}

pub(crate) fn run(place: &Place, args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        place.module_path.is_none(),
        "there is no signer to ask with --module-path"
    );
    let client = Client::new(&place.socket_path);
    let status = client.status();
    let identity = Identity::look();
    if let Some(path) = &args.metrics {
        let text = metrics::text(status.as_ref().ok(), &identity);
        return file::write_or_print(path.as_deref(), &text);
    }
    let status = status?;
    // That call may hang.
    let tokens = client.with_limits(LISTING).tokens();
    let initialised = tokens.map(|tokens| {
        let initialised = tokens.into_iter().filter(|token| token.initialized);
        initialised.map(|token| token.uri).collect::<Vec<_>>()
    });
    let mut problems = problems(&status);
    problems.extend(Moved::left_behind(&Root::default()).map(Moved::to_string));
    problems.extend(identity.problems());
    if args.json {
        say(format_args!("{:#}", to_json(&status, &identity, &problems)))?;
    } else {
        print(&status, &initialised)?;
        print_identity(&identity)?;
    }
    match problems.as_slice() {
        [] => Ok(()),
        problems => anyhow::bail!("{}", problems.join("; ")),
    }
}

fn print_identity(identity: &Identity) -> std::io::Result<()> {
    if let Some(certificate) = &identity.certificate {
        say(format_args!(
            "certificate {} until {}",
            identity.path.display(),
            certificate.validity().1
        ))?;
    }
    let renewal = &identity.renewal;
    if let Some(renewed) = renewal.renewed {
        say(format_args!("renewed     {}", certificate::time(renewed)))?;
    }
    if let Some(error) = &renewal.error {
        say(format_args!(
            "renewal     failed {} times, last on {}: {error}",
            renewal.failures,
            certificate::time(renewal.tried)
        ))?;
    }
    match &identity.rotation {
        Some(rotation) => print_rotation(rotation),
        None => Ok(()),
    }
}

fn print_rotation(rotation: &Record) -> std::io::Result<()> {
    let since = unix_time().saturating_sub(rotation.since);
    let step = serde_json::to_value(rotation.step).unwrap_or_default();
    let step = step.as_str().unwrap_or_default();
    say(format_args!(
        "rotation    {step} for {}: {} takes the place of {}",
        age(since),
        rotation.new_key,
        rotation.old_key
    ))
}

/// What needs a look.
fn problems(status: &Status) -> Vec<String> {
    let mut problems = Vec::new();
    for token in status
        .tokens
        .iter()
        .filter(|token| !token.trouble.is_empty())
    {
        problems.push(format!("{}: {}", token.uri, token.trouble));
    }
    if status.longest_call > HUNG {
        problems.push(format!(
            "a call on the module has not returned for {} s",
            status.longest_call / 1000
        ));
    }
    if !status.reload_error.is_empty() {
        problems.push(format!(
            "the configuration on disk is not in force: {}",
            status.reload_error
        ));
    }
    problems
}

fn print(
    status: &Status,
    initialised: &Result<Vec<String>, tedge_p11_client::Error>,
) -> std::io::Result<()> {
    let latency = &status.latency;
    let ms = |microseconds: u64| format!("{}.{} ms", microseconds / 1000, microseconds / 100 % 10);
    say(format_args!(
        "signer      {}, up {}",
        status.version,
        age(status.uptime)
    ))?;
    say(format_args!("module      {}", status.module))?;
    say(format_args!(
        "requests    {}: {} signatures, {} failed, {} refused, {} too fast",
        status.requests + status.throttled,
        status.signatures,
        status.failed,
        status.refused,
        status.throttled
    ))?;
    if status.signatures > 0 {
        say(format_args!(
            "signatures  half within {}, 90 % {}, 99 % {}, all {}",
            ms(latency.p50),
            ms(latency.p90),
            ms(latency.p99),
            ms(latency.max)
        ))?;
    }
    say(format_args!(
        "now         {} connections, {} calls on the module, the oldest for {} ms",
        status.connections, status.calls, status.longest_call
    ))?;
    if !status.last_error.is_empty() {
        say(format_args!(
            "last error  {} ago: {}",
            age(status.last_error_age),
            status.last_error
        ))?;
    }
    for token in &status.tokens {
        say(format_args!("token       {}", describe(token)))?;
    }
    match initialised {
        Ok(uris) => {
            let used = |uri: &String| status.tokens.iter().any(|token| token.uri == *uri);
            for uri in uris.iter().filter(|uri| !used(uri)) {
                say(format_args!("token       {uri}: not used yet"))?;
            }
        }
        Err(error) => say(format_args!("tokens      cannot be listed: {error}"))?,
    }
    Ok(())
}

fn describe(token: &TokenStatus) -> String {
    let uri = &token.uri;
    match (token.trouble.as_str(), token.pause) {
        ("", _) => format!("{uri}: in use"),
        (trouble, 0) => format!("{uri}: failing, tried again with the next request: {trouble}"),
        (trouble, pause) => format!("{uri}: failing, tried again in {pause} ms: {trouble}"),
    }
}

fn to_json(status: &Status, identity: &Identity, problems: &[String]) -> serde_json::Value {
    let tokens = status.tokens.iter().map(|token| {
        let trouble = present(&token.trouble);
        json!({
            "uri": token.uri,
            "trouble": trouble,
            "pause_ms": trouble.map(|_| token.pause),
            "pin": pin(status, token),
        })
    });
    let latency = json!({
        "p50": status.latency.p50,
        "p90": status.latency.p90,
        "p99": status.latency.p99,
        "max": status.latency.max,
    });
    let last_error = present(&status.last_error);
    let error = identity.renewal.error.as_ref();
    json!({
        "version": status.version,
        "uptime_s": status.uptime,
        "module": status.module,
        "tokens": tokens.collect::<Vec<_>>(),
        "requests": status.requests,
        "signatures": status.signatures,
        "failed": status.failed,
        "refused": status.refused,
        "throttled": status.throttled,
        "connections": status.connections,
        "calls": status.calls,
        "longest_call_ms": status.longest_call,
        "latency_us": (status.signatures > 0).then_some(latency),
        "last_error": last_error,
        "last_error_age_s": last_error.map(|_| status.last_error_age),
        "reload_error": present(&status.reload_error),
        "certificate": identity.certificate.as_ref().map(|certificate| json!({
            "file": identity.path,
            "not_after": certificate.validity().1,
            "days_left": certificate.days_left(Duration::from_secs(unix_time())),
        })),
        "renewal": {
            "renewed_at": identity.renewal.renewed.map(certificate::time),
            "failures": identity.renewal.failures,
            "failed_at": error.map(|_| certificate::time(identity.renewal.tried)),
            "error": error,
        },
        "rotation": identity.rotation.as_ref().map(|rotation| json!({
            "step": rotation.step,
            "since": rotation.since,
            "old_key": rotation.old_key,
            "new_key": rotation.new_key,
            "error": rotation.error,
        })),
        "problems": problems,
    })
}

fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Milliseconds; clients have been told by then. Only making an RSA key may take longer.
const HUNG: u64 = 30_000;
const LISTING: TimeLimits = TimeLimits {
    connect: Duration::from_secs(5),
    read: Duration::from_secs(5),
    write: Duration::from_secs(5),
};
