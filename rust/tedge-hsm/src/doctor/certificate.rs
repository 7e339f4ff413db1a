//! The device's certificate: its dates, what it is for, and whose key it is about.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tedge_p11_config::read_connections;

use super::context::{Context, Key};
use super::report::{Area, Report};
use crate::certificate::{Certificate, in_days, read_chain};

/// A key and the file with its certificate.
pub(super) struct Certified {
    pub(super) key: Key,
    pub(super) chain: PathBuf,
}

/// The key that the certificate is for, with the certificate.
pub(super) fn check(context: &Context<'_>, keys: &[Key], report: &mut Report) -> Option<Certified> {
    let path = match &context.args.cert {
        Some(path) => path.clone(),
        None => match configured(context) {
            Some(path) => path,
            None => {
                report.skipped(Area::Certificate, NONE_NAMED);
                return None;
            }
        },
    };
    let certificate = match read_chain(&path) {
        Ok(mut chain) => chain.swap_remove(0),
        Err(error) => {
            let issued = match request(context) {
                Some(request) => format!("have the CA sign {request}"),
                None => "have one issued: tedge-hsm csr makes the request".to_owned(),
            };
            let cure = format!("{issued}; the file is PEM, the device's first, or DER");
            report.failure(Area::Certificate, format!("{error:#}"), cure);
            return None;
        }
    };
    check_dates(&path, &certificate, report);
    check_usage(&path, &certificate, report);
    check_key(context, &path, &certificate, keys, report).map(|key| Certified { key, chain: path })
}

/// By tedge.toml, or where thin-edge.io has it, if it is there.
fn configured(context: &Context<'_>) -> Option<PathBuf> {
    let connections = read_connections(&context.config_dir.join("tedge.toml")).ok()?;
    let clouds = [connections.c8y, connections.az, connections.aws];
    let own = clouds
        .into_iter()
        .filter(|cloud| cloud.url.is_some())
        .find_map(|cloud| cloud.device.cert_path);
    if let Some(path) = own.or(connections.device.cert_path) {
        return Some(context.root.path(path));
    }
    let default = context
        .root
        .path("/etc/tedge/device-certs/tedge-certificate.pem");
    default.exists().then_some(default)
}

const NONE_NAMED: &str =
    "no certificate is named: give --cert, or set device.cert_path in tedge.toml";

fn check_dates(path: &Path, certificate: &Certificate, report: &mut Report) {
    let shown = path.display();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    let (not_before, not_after) = certificate.validity();
    if now < begin {
        return report.failure(
            Area::Certificate,
            format!("{shown} is not valid before {not_before}"),
            "set the clock (timedatectl); if it is right, have the certificate issued anew",
        );
    }
    let Some(left) = end.checked_sub(now) else {
        return report.failure(
            Area::Certificate,
            format!("{shown} expired on {}, {} ago", not_after, in_days(now.saturating_sub(end))),
            "have a new one issued: tedge-hsm csr; if it should still be valid, set the clock (timedatectl)",
        );
    };
    // Of a year, a month; of a certificate for a day, two hours.
    if left < end.saturating_sub(begin) / 12 {
        report.warning(
            Area::Certificate,
            format!("{shown} expires on {}, in {}", not_after, in_days(left)),
            "have a new one issued: tedge-hsm csr",
        );
    } else {
        report.ok(
            Area::Certificate,
            format!(
                "{shown} is valid until {}, for {}",
                not_after,
                in_days(left)
            ),
        );
    }
}

fn check_usage(path: &Path, certificate: &Certificate, report: &mut Report) {
    if certificate.version() < 3 {
        report.warning(
            Area::Certificate,
            format!(
                "{} is X.509 version {}, which some brokers refuse; those on OpenSSL, as mosquitto, take it",
                path.display(),
                certificate.version()
            ),
            "have one of version 3 issued: openssl x509 -req with -copy_extensions copy or -extfile",
        );
    }
    if !certificate.is_for_clients() {
        report.failure(
            Area::Certificate,
            format!(
                "{} is not for TLS clients (its extended key usage lacks clientAuth)",
                path.display()
            ),
            "have one issued with clientAuth; tedge-hsm csr asks for it",
        );
    }
}

fn check_key(
    context: &Context<'_>,
    path: &Path,
    certificate: &Certificate,
    keys: &[Key],
    report: &mut Report,
) -> Option<Key> {
    let shown = path.display();
    if keys.is_empty() {
        report.skipped(
            Area::Certificate,
            format!("{shown}: no key to compare its public key with"),
        );
        return None;
    }
    if let Some(key) = keys
        .iter()
        .find(|key| certificate.check_key(key.as_ref()).is_ok())
    {
        report.ok(
            Area::Certificate,
            format!("{shown} is for key {}", key.uri()),
        );
        return Some(key.clone());
    }
    let uris: Vec<_> = keys.iter().map(|key| format!("<{}>", key.uri())).collect();
    let cure = match request(context) {
        Some(request) => format!(
            "the key is another one since a factory reset, or a change of the HSM: have the CA sign {request}; or name the \
             key that it is for by --uri"
        ),
        None => "have one issued for the key: tedge-hsm csr --uri URI; or name the key that it is for by --uri"
            .to_owned(),
    };
    report.failure(
        Area::Certificate,
        format!("{shown} is for none of the keys {}", uris.join(" ")),
        cure,
    );
    None
}

/// What `setup` has left for the CA, if it is there.
fn request(context: &Context<'_>) -> Option<String> {
    let path = context.root.path(FIRST_REQUEST);
    path.exists().then(|| path.display().to_string())
}

const FIRST_REQUEST: &str = "/var/lib/tedge-hsm/device.csr";
