//! Core dumps, which would have the PINs of a process in them.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps this process's memory out of core dumps, and debuggers of the same user out of the process. For the
/// first thing that a program does which may hold a [`Pin`](crate::Pin); programs that it starts make no core
/// dumps either.
pub fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Neither can fail for a process that only lowers its own limits; were it so, it would be no worse off
    // than without.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
