//! The signer behind its socket.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use tedge_p11_client::{Client, Error, TimeLimits, connect_within};

use super::context::Context;
use super::report::{Area, Report};
use super::{cures, unit};

/// The signer, if it answers.
pub(super) fn check(context: &Context<'_>, report: &mut Report) -> Option<Client> {
    let path = context.socket_path();
    let shown = path.display();
    let file = match std::fs::metadata(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            report.failure(
                Area::Signer,
                format!("the signer's socket {shown}: {error}"),
                "chmod 755 the folders that it is in",
            );
            return None;
        }
        Err(error) if context.is_straight() => {
            report.skipped(Area::Signer, format!("no signer: {shown}: {error}"));
            return None;
        }
        Err(error) => {
            report.failure(
                Area::Signer,
                format!("the signer's socket {shown}: {error}"),
                if context.has_default_socket() {
                    "tedge-hsm setup, if this machine is not set up yet; else systemctl enable --now \
                     tedge-p11-server.socket"
                } else {
                    "systemctl enable --now tedge-p11-server.socket"
                },
            );
            return None;
        }
    };
    if !file.file_type().is_socket() {
        report.failure(
            Area::Signer,
            format!("{shown} is no socket"),
            "correct --socket-path, or device.cryptoki.socket_path in tedge.toml",
        );
        return None;
    }
    let permissions = context.root.permissions(&file);
    let client = Client::new(&path).with_limits(TimeLimits {
        connect: context.limit,
        read: context.limit,
        write: context.limit,
    });
    if let Err(error) = client.ping() {
        let cure = match &error {
            Error::Connect { error, .. } => match error.kind() {
                ErrorKind::PermissionDenied => format!(
                    "usermod -aG {} {}, and log in again",
                    context.root.group(file.gid()),
                    context.root.user(rustix::process::geteuid().as_raw())
                ),
                ErrorKind::ConnectionRefused => {
                    "nobody listens: systemctl restart tedge-p11-server.socket; \
                     a socket that a killed signer left is replaced by that"
                        .to_owned()
                }
                _ => cures::of("cannot connect to the signer"),
            },
            error => cures::of(&error.to_string()),
        };
        report.failure(
            Area::Signer,
            format!("{error} (the socket has {permissions})"),
            cure,
        );
        if let Some((what, cure)) = unit::trouble(context) {
            report.failure(Area::Signer, what, cure);
        }
        return None;
    }
    check_owner(context, &path, &file, report);
    match client.knows_extension() {
        Ok(true) => report.ok(
            Area::Signer,
            format!("{shown} ({permissions}): tedge-p11-server with this project's extension answers"),
        ),
        Ok(false) => report.warning(
            Area::Signer,
            format!("{shown} ({permissions}): a signer without this project's extension answers, such as \
                 thin-edge.io's"),
            "it works, with EC P-256 to P-521 and RSA with SHA-256 only, without a policy",
        ),
        Err(error) => {
            report.failure(Area::Signer, error.to_string(), cures::of(&error.to_string()));
            return None;
        }
    }
    Some(client)
}

/// Who owns the socket may open it to everybody.
fn check_owner(context: &Context<'_>, path: &Path, file: &Metadata, report: &mut Report) {
    // Who listens could do that anyway.
    let listener = connect_within(path, context.limit)
        .ok()
        .and_then(|stream| socket_peercred(&stream).ok())
        .map(|peer| peer.uid.as_raw());
    if file.uid() == 0 || Some(file.uid()) == listener {
        return;
    }
    let owner = context.root.user(file.uid());
    report.warning(
        Area::Signer,
        format!(
            "{} ({}) belongs to user {owner}, who may open it to everybody",
            path.display(),
            context.root.permissions(file)
        ),
        "systemctl daemon-reload && systemctl restart tedge-p11-server.socket, once no unit and no drop-in of it \
         has SocketUser= any more (systemctl cat tedge-p11-server.socket)",
    );
}
