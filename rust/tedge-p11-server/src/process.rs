//! What concerns the process as a whole.

use std::io::Write as _;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps PINs out of core dumps, and debuggers of the same user out of this process.
pub(crate) fn protect_secrets() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Neither can fail for a process that only lowers its own limits; were it so, the signer would
    // be no worse off than without.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

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
