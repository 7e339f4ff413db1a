//! The services that a module talks to.

use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use tedge_p11_client::connect_within;

use super::context::Context;
use super::report::{Area, Report};
use crate::profile::Service;

/// Tells whether the module can be called without waiting for ever.
pub(super) fn check(context: &Context<'_>, report: &mut Report) -> bool {
    let services = context.profile.map_or(&[][..], |profile| profile.services);
    services.iter().all(|service| match service {
        Service::Pcscd => {
            check_pcscd(context, report);
            true // a module that finds no pcscd has no slots
        }
        Service::TeeSupplicant => check_tee_supplicant(context, report),
    })
}

fn check_pcscd(context: &Context<'_>, report: &mut Report) {
    let path = std::env::var_os("PCSCLITE_CSOCK_NAME")
        .map_or_else(|| context.root.path("/run/pcscd/pcscd.comm"), PathBuf::from);
    let shown = path.display();
    let failure = |report: &mut Report, what: String| {
        report.failure(
            Area::Service,
            what,
            "systemctl enable --now pcscd.socket (package pcscd on Debian, pcsc-lite on Yocto)",
        );
    };
    match std::fs::metadata(&path) {
        Err(error) => failure(report, format!("pcscd's socket {shown}: {error}")),
        Ok(file) if !file.file_type().is_socket() => {
            failure(report, format!("pcscd's socket {shown} is no socket"));
        }
        Ok(_) => match connect_within(&path, context.limit) {
            Ok(_) => report.ok(Area::Service, format!("pcscd listens at {shown}")),
            Err(error) => failure(report, format!("pcscd does not listen at {shown}: {error}")),
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel makes these files")]
fn check_tee_supplicant(context: &Context<'_>, report: &mut Report) -> bool {
    let processes = std::fs::read_dir(context.root.path("/proc"));
    let runs = processes.is_ok_and(|processes| {
        processes.flatten().any(|process| {
            let name = std::fs::read_to_string(process.path().join("comm"));
            name.is_ok_and(|name| name.trim_end() == "tee-supplicant")
        })
    });
    if runs {
        report.ok(Area::Service, "tee-supplicant runs");
    } else {
        report.failure(
            Area::Service,
            "tee-supplicant does not run: calls that need the storage would wait for ever, and all others behind them",
            "systemctl start tee-supplicant@teepriv0 (or tee-supplicant), and see its log",
        );
    }
    runs
}
