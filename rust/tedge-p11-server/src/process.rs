//! What concerns the process as a whole.

use std::io::Write as _;

/// A panic ends the process, in whatever thread it comes up: systemd starts a new one. What went on
/// without the thread could be alive and deaf.
pub(crate) fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        log::error!("internal error, ending: {panic}");
        log::logger().flush();
        let _ = writeln!(
            std::io::stderr(),
            "tedge-p11-server: internal error, ending: {panic}"
        );
        std::process::abort();
    }));
}
