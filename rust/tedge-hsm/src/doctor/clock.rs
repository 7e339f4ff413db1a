//! The clock: certificates are valid by it.

use std::time::{Duration, SystemTime};

use super::context::Context;
use super::report::{Area, Report};

pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if now < built() {
        report.failure(
            Area::Clock,
            format!("the clock says {} s since 1970, before this program was made", now.as_secs()),
            "set it: timedatectl set-ntp true, or date -s; a device without a battery keeps time in \
             /var/lib/systemd/timesync/clock",
        );
    }
    let timesync = context.root.path("/run/systemd/timesync");
    if timesync.join("synchronized").exists() {
        report.ok(
            Area::Clock,
            "the clock is synchronised by systemd-timesyncd",
        );
    } else if timesync.exists() {
        report.warning(
            Area::Clock,
            "systemd-timesyncd has not synchronised the clock since it was started",
            "timedatectl timesync-status; NTP needs UDP port 123 open, or a server in timesyncd.conf",
        );
    } else {
        report.skipped(
            Area::Clock,
            "systemd-timesyncd does not run: whether the clock is synchronised is not known",
        );
    }
}

/// No machine that has this program was right with an earlier time. Reproducible builds set
/// SOURCE_DATE_EPOCH, BitBake's among them.
fn built() -> Duration {
    let epoch = option_env!("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(epoch.unwrap_or(0).max(OLDEST))
}

/// 2026-01-01, in seconds since 1970.
const OLDEST: u64 = 1_767_225_600;
