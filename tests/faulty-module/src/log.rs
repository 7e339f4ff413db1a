//! The log: one line a call when it returns, and one a pair of calls that ran at the same time and
//! must not.
//!
//! ```text
//! C_Login session=4 slot=1823 token=device CKR_OK 127us at=1795432476.123456
//! C_Sign session=5 slot=1823 token=device CKR_DEVICE_ERROR 8us at=1795432476.123498 injected
//! OVERLAP C_FindObjects C_Sign slot=1823 token=device
//! ```
//!
//! With overlaps, the exclusive function comes first; of two exclusive ones, the one that ran already.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use cryptoki_sys::{CK_RV, CK_SLOT_ID};

use crate::call::{Call, Subject};
use crate::wrap::Function;
use crate::{give_up, rv};

static LOG: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("FAULTY_LOG").map(PathBuf::from)?;
    let file = File::options().create(true).append(true).open(&path);
    Some(file.unwrap_or_else(|error| give_up(&format!("{}: {error}", path.display()))))
});

pub(crate) fn is_on() -> bool {
    LOG.is_some()
}

/// Logs a call that returns `rv`.
pub(crate) fn call(call: &Call, rv: CK_RV) {
    let Some(begun) = call.begun else { return };
    let mut line = call.function.name().to_owned();
    if let Subject::Session(session) = call.subject {
        let _ = write!(line, " session={session}");
    }
    write_token(&mut line, call.slot, call.label.as_deref());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let _ = writeln!(
        line,
        " {} {}us at={}.{:06}{}",
        rv::name(rv),
        begun.elapsed().as_micros(),
        now.as_secs(),
        now.subsec_micros(),
        if call.injected.is_some() {
            " injected"
        } else {
            ""
        },
    );
    append(&line);
}

fn write_token(line: &mut String, slot: Option<CK_SLOT_ID>, label: Option<&str>) {
    if let Some(slot) = slot {
        let _ = write!(line, " slot={slot}");
    }
    if let Some(label) = label {
        let label = label
            .replace('%', "%25")
            .replace(' ', "%20")
            .replace('\n', "%0A");
        let _ = write!(line, " token={label}");
    }
}

/// One write to a file opened for appending: lines of several threads do not mix.
fn append(line: &str) {
    if let Some(mut file) = LOG.as_ref() {
        if let Err(error) = file.write_all(line.as_bytes()) {
            give_up(&format!("FAULTY_LOG: {error}"));
        }
    }
}

/// A call in flight, until it is dropped.
pub(crate) struct Running(u64);

#[derive(Debug, Default)]
struct InFlight {
    next: u64,
    calls: Vec<(u64, Function, Option<CK_SLOT_ID>)>,
}

static IN_FLIGHT: LazyLock<Option<Mutex<InFlight>>> = LazyLock::new(|| {
    let wanted = std::env::var_os("FAULTY_OVERLAP").is_some_and(|value| value == "1");
    wanted.then(Mutex::default)
});

impl Running {
    /// Logs which calls this one must not run beside.
    pub(crate) fn enter(
        function: Function,
        slot: Option<CK_SLOT_ID>,
        label: Option<&str>,
    ) -> Option<Self> {
        let mut in_flight = lock(IN_FLIGHT.as_ref()?);
        for (_, other, others_slot) in &in_flight.calls {
            let everywhere = ends_all(function) || ends_all(*other);
            let same = slot.is_some() && slot == *others_slot;
            let pair = match (is_exclusive(*other), is_exclusive(function)) {
                _ if !same && !everywhere => continue,
                (true, _) => [*other, function],
                (false, true) => [function, *other],
                (false, false) => continue,
            };
            let mut line = format!("OVERLAP {} {}", pair[0].name(), pair[1].name());
            write_token(&mut line, slot.or(*others_slot), label);
            line.push('\n');
            append(&line);
        }
        in_flight.next += 1;
        let id = in_flight.next;
        in_flight.calls.push((id, function, slot));
        Some(Self(id))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(in_flight) = IN_FLIGHT.as_ref() {
            lock(in_flight).calls.retain(|(id, ..)| *id != self.0);
        }
    }
}

fn lock(in_flight: &Mutex<InFlight>) -> MutexGuard<'_, InFlight> {
    in_flight.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ends_all(function: Function) -> bool {
    matches!(function, Function::C_Initialize | Function::C_Finalize)
}

/// libtpm2_pkcs11 1.9 loses sessions or crashes when these run beside other calls on the slot.
fn is_exclusive(function: Function) -> bool {
    use Function as F;
    ends_all(function)
        || matches!(
            function,
            F::C_OpenSession
                | F::C_CloseSession
                | F::C_CloseAllSessions
                | F::C_FindObjectsInit
                | F::C_FindObjects
                | F::C_FindObjectsFinal
                | F::C_Login
                | F::C_Logout
        )
}
