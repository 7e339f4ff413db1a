//! The device's certificate: its dates, what it is for, and whose key it is about.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tedge_p11_config::read_connections;
use x509_cert::Certificate;
use x509_cert::der::Encode as _;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::context::{Context, Key};
use super::report::{Area, Report};

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
    let shown = path.display();
    let certificate = match read(&path) {
        Ok(certificate) => certificate,
        Err(error) => {
            report.failure(
                Area::Certificate,
                format!("{shown}: {error}"),
                "have one issued: tedge-hsm csr makes the request; it is a PEM file, the device's first",
            );
            return None;
        }
    };
    check_dates(&path, &certificate, report);
    check_usage(&path, &certificate, report);
    check_key(&path, &certificate, keys, report).map(|key| Certified { key, chain: path })
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

fn read(path: &Path) -> Result<Certificate, String> {
    let none = || "there is no certificate in it".to_owned();
    let pem =
        tedge_file::read(path, tedge_file::MAX_CERTIFICATES).map_err(|error| error.to_string())?;
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err(none());
    }
    let chain = Certificate::load_pem_chain(&pem).map_err(|error| error.to_string())?;
    chain.into_iter().next().ok_or_else(none)
}

fn check_dates(path: &Path, certificate: &Certificate, report: &mut Report) {
    let shown = path.display();
    let validity = &certificate.tbs_certificate.validity;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (begin, end) = (
        validity.not_before.to_unix_duration(),
        validity.not_after.to_unix_duration(),
    );
    if now < begin {
        return report.failure(
            Area::Certificate,
            format!("{shown} is not valid before {}", validity.not_before),
            "set the clock (timedatectl); if it is right, have the certificate issued anew",
        );
    }
    let Some(left) = end.checked_sub(now) else {
        return report.failure(
            Area::Certificate,
            format!("{shown} expired on {}, {} ago", validity.not_after, in_days(now.saturating_sub(end))),
            "have a new one issued: tedge-hsm csr; if it should still be valid, set the clock (timedatectl)",
        );
    };
    // Of a year, a month; of a certificate for a day, two hours.
    if left < end.saturating_sub(begin) / 12 {
        report.warning(
            Area::Certificate,
            format!(
                "{shown} expires on {}, in {}",
                validity.not_after,
                in_days(left)
            ),
            "have a new one issued: tedge-hsm csr",
        );
    } else {
        report.ok(
            Area::Certificate,
            format!(
                "{shown} is valid until {}, for {}",
                validity.not_after,
                in_days(left)
            ),
        );
    }
}

fn in_days(span: Duration) -> String {
    match span.as_secs() / (60 * 60) {
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

/// RFC 5280, section 4.2.1.12: without the extension, it is for everything.
fn check_usage(path: &Path, certificate: &Certificate, report: &mut Report) {
    let usage = certificate.tbs_certificate.get::<ExtendedKeyUsage>();
    let for_others = matches!(usage, Ok(Some((_, ExtendedKeyUsage(purposes))))
        if !purposes.contains(&ID_KP_CLIENT_AUTH) && !purposes.contains(&ANY_EXTENDED_KEY_USAGE));
    if for_others {
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
    path: &Path,
    certificate: &Certificate,
    keys: &[Key],
    report: &mut Report,
) -> Option<Key> {
    let shown = path.display();
    let spki = certificate
        .tbs_certificate
        .subject_public_key_info
        .to_der()
        .unwrap_or_default();
    if keys.is_empty() {
        report.skipped(
            Area::Certificate,
            format!("{shown}: no key to compare its public key with"),
        );
        return None;
    }
    if let Some(key) = keys.iter().find(|key| key.public_key().spki() == spki) {
        report.ok(
            Area::Certificate,
            format!("{shown} is for key {}", key.uri()),
        );
        return Some(key.clone());
    }
    let uris: Vec<_> = keys.iter().map(|key| format!("<{}>", key.uri())).collect();
    report.failure(
        Area::Certificate,
        format!("{shown} is for none of the keys {}", uris.join(" ")),
        "have one issued for the key: tedge-hsm csr --uri URI; or name the key that it is for by --uri",
    );
    None
}
