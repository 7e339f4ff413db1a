//! `renew`: a new certificate from an EST server, which the key on the token logs in to and asks
//! with. The old one stays until the new one has proved good.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use tedge_p11_client::Uri;

use crate::est::default_ca;
use crate::keys::Keys;
use crate::output::note;
use crate::own_file;
use crate::place::Place;
use crate::post_quantum;
use crate::proxy::{self, RunBy};
use crate::renewal::{Enroll, Server};
use crate::renewal_plan::Plan;
use crate::renewal_record::RenewalRecord;
use crate::renewal_schedule::{Schedule, now};
use crate::rotation;
use crate::rotation::record::Record;
use crate::settings_file::SettingsFile;
use crate::store::Store;
use crate::tenant::Tenant;
use crate::try_connect;
use crate::uri_parser::UriParser;
use crate::user_pin::UserPin;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new certificate replaces the old one only if it is for the key, and if a server that trusts the CAs would accept it. \
tedge-hsm-renew.timer looks each hour whether this is due, with the settings in /etc/tedge-hsm/renew.conf.

Examples:
  tedge-hsm renew --est https://est.example.org --cert device.pem --ca ca.pem --days 30
  tedge-hsm renew --est https://est.example.org --cert device.pem --ca ca.pem \\
    --enroll --common-name device-1 --user NAME --password-file FILE
  tedge-hsm renew --cumulocity example.cumulocity.com --cert device.pem --ca ca.pem --days 30
  tedge-hsm renew --settings /etc/tedge-hsm/renew.conf")]
pub(crate) struct Args {
    /// EST server: https://HOST[:PORT], if needed with /.well-known/est/LABEL or another path
    #[arg(long, value_name = "URL", required_unless_present_any = ["settings", "cumulocity"])]
    est: Option<String>,

    /// In place of --est: the tenant of Cumulocity whose own CA issued the certificate
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["est", "enroll", "cacerts_out"])]
    cumulocity: Option<String>,

    /// The tenant's MQTT broker, if it is elsewhere
    #[arg(long, value_name = "HOST[:PORT]", requires = "cumulocity")]
    mqtt: Option<String>,

    /// PEM or DER file with the certificate and its chain; a good new certificate replaces it, in PEM
    #[arg(long, value_name = "FILE", required_unless_present = "settings")]
    cert: Option<PathBuf>,

    /// PEM or DER file with the CA certificates that verify the server and the new certificate
    #[arg(long, value_name = "FILE", required_unless_present = "settings")]
    ca: Option<PathBuf>,

    /// File with the settings EST_URL or CUMULOCITY, CERT, CA, DAYS, SPREAD, PROXY, PROXY_USER, PROXY_PASSWORD_FILE,
    /// NO_PROXY and OPTIONS, in place of the options. Only root may be able to write it; tedge-hsm-renew.service uses it
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "est", "cumulocity", "cert", "ca", "uri", "days", "spread", "new_key", "cacerts_out", "timeout", "enroll",
        "try_connect", "require_post_quantum", "proxy", "no_proxy",
    ])]
    settings: Option<PathBuf>,

    /// URI of the key [default: the key that the signer is configured with]
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Do nothing while the certificate is valid for more than this number of days
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36500), conflicts_with = "enroll")]
    days: Option<u32>,

    /// Renew at a moment of this device's own, well before --days (or before a third of the certificate's life is left), and
    /// wait longer after each failure: for a device of a fleet (docs/fleet.md)
    #[arg(long, conflicts_with = "enroll")]
    spread: bool,

    /// Get the certificate for another key: the one of this URI, or without a URI a new key, which replaces the old
    /// one in steps (docs/rotation.md)
    #[arg(long, value_name = "URI", value_parser = UriParser, conflicts_with = "enroll")]
    #[allow(clippy::option_option)] // with or without a value
    new_key: Option<Option<Uri>>,

    /// Write the CA certificates that the server distributes to this file; one of them may issue the
    /// new certificate, too
    #[arg(long, value_name = "FILE")]
    cacerts_out: Option<PathBuf>,

    /// Time limit for each request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    #[command(flatten)]
    pub(crate) user_pin: UserPin,

    #[command(flatten)]
    rotation: rotation::Args,

    #[command(flatten)]
    trial: try_connect::Args,

    #[command(flatten)]
    post_quantum: post_quantum::Args,

    #[command(flatten)]
    proxy: proxy::Args,

    #[command(flatten)]
    enroll: Enroll,
}

impl Args {
    /// The file that has the options.
    pub(crate) fn settings(&self) -> Option<&Path> {
        self.settings.as_deref()
    }
}

/// The options that the settings in `path` stand for.
pub(crate) fn options(path: &Path) -> anyhow::Result<Vec<String>> {
    let settings = SettingsFile::read(
        path,
        &[
            "EST_URL",
            "CUMULOCITY",
            "CERT",
            "CA",
            "DAYS",
            "SPREAD",
            "PROXY",
            "PROXY_USER",
            "PROXY_PASSWORD_FILE",
            "NO_PROXY",
            "OPTIONS",
        ],
    )?;
    let default_ca = default_ca().display().to_string();
    let (server, ca) = match (settings.get("EST_URL"), settings.get("CUMULOCITY")) {
        (Some(est), None) => (format!("--est={est}"), default_ca.as_str()),
        (None, Some(host)) => (format!("--cumulocity={host}"), SYSTEMS_CAS),
        _ => bail!("{} sets one of EST_URL and CUMULOCITY", path.display()),
    };
    let or = |key, default| settings.get(key).unwrap_or(default);
    let mut options = vec![
        server,
        format!("--cert={}", or("CERT", DEFAULT_CERT)),
        format!("--ca={}", or("CA", ca)),
    ];
    match or("SPREAD", "yes") {
        "yes" => options.push("--spread".to_owned()),
        "no" => {}
        _ => bail!("{}: SPREAD is yes or no", path.display()),
    }
    // By --spread, a third of the certificate's life is left without it.
    let days = settings.get("DAYS");
    let is_spread = options.len() > 3;
    let days = days.or((!is_spread).then_some("30"));
    options.extend(days.map(|days| format!("--days={days}")));
    for (key, option) in [
        ("PROXY", "--proxy"),
        ("PROXY_USER", "--proxy-user"),
        ("PROXY_PASSWORD_FILE", "--proxy-password-file"),
        ("NO_PROXY", "--no-proxy"),
    ] {
        let value = settings.get(key);
        options.extend(value.map(|value| format!("{option}={value}")));
    }
    let more = settings.get("OPTIONS").unwrap_or_default();
    options.extend(more.split_ascii_whitespace().map(str::to_owned));
    Ok(options)
}

pub(crate) fn run(store: &Store, place: &Place, args: Args, run_by: RunBy) -> anyhow::Result<()> {
    let tenant = args
        .cumulocity
        .map(|host| Tenant::new(&host, args.mqtt.as_deref()));
    let est = args.est.or_else(|| Some(tenant.as_ref()?.est_url()));
    // The command line has been refused without them.
    let (Some(est), Some(cert), Some(ca)) = (est, args.cert, args.ca) else {
        bail!("--est, --cert and --ca are needed");
    };
    store.prefer_key_of(&cert);
    let rotates = matches!(args.new_key, Some(None));
    let limit = Duration::from_secs(args.timeout);
    let proxies = args.proxy.settings(run_by)?;
    let post_quantum = args.post_quantum.wanted();
    let mut server = Server {
        keys: Keys { store, place },
        est,
        cert,
        // What its server sends is put into files of root's, or a password is sent to it.
        trust: own_file::trust(&ca)?,
        limit,
        uri: args.uri,
        new_key: args.new_key.flatten(),
        trial: match &tenant {
            // The CA is the tenant's own: whether the certificate is good, its broker tells.
            Some(tenant) => {
                Some(
                    args.trial
                        .trial_at(&tenant.broker(), &ca, &proxies, post_quantum, limit)?,
                )
            }
            None => args.trial.trial(rotates, &proxies, post_quantum, limit)?,
        },
        proxies,
        post_quantum,
        tenant,
        cacerts_out: args.cacerts_out,
        cas: RefCell::default(),
        enroll: args.enroll,
    };
    if server.enroll.enroll {
        return server.enroll();
    }
    let schedule = Schedule {
        days: args.days,
        spread: args.spread,
    };
    let mut history = RenewalRecord::look(&server.cert);
    let record = Record::read(&server.cert)?;
    let due = schedule.due(&server.old()?[0], &history)?;
    if !rotates {
        if let Some(record) = &record {
            note(format_args!(
                "a new key is on its way for {} (since {}): --new-key goes on with it",
                server.cert.display(),
                record.old_key
            ));
        }
    }
    let pause = schedule.pause(&server.old()?[0], &history)?;
    let goes_on = rotates && record.is_some() && pause.is_none();
    if due != Plan::Now && !goes_on {
        server.tell(&history, pause)?;
        return Ok(());
    }
    let result = if rotates {
        server.rotate_or_renew(&args.rotation, record.is_some(), schedule, &history)
    } else {
        server.renew().map(|()| true)
    };
    match &result {
        Ok(true) => history.succeeded(now()?.as_secs()),
        Ok(false) => {}
        Err(error) => history.failed(now()?.as_secs(), &format!("{error:#}")),
    }
    if !matches!(result, Ok(false)) {
        if let Err(error) = history.write(&server.cert) {
            note(format_args!("{error:#}"));
        }
    }
    result.map(drop)
}

/// As thin-edge.io has it.
const DEFAULT_CERT: &str = "/etc/tedge/device-certs/tedge-certificate.pem";
const SYSTEMS_CAS: &str = "/etc/ssl/certs";
