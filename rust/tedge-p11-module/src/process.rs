//! The library of this process: there is one from C_Initialize to C_Finalize.
//!
//! After fork(2) the child has no library until it calls C_Initialize itself (PKCS#11 3.0, section 5.4),
//! whatever the parent's other threads were doing: a lock that one of them held stays locked in the child
//! for ever. So each process has a lock of its own in a chain, and passes by those of its ancestors
//! without touching them.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cryptoki_sys::*;

use crate::library::Library;
use crate::rv::{Result, Rv};

/// Where the library of one process is.
struct Place {
    pid: u32,
    library: RwLock<Option<Arc<Library>>>,
    /// That of a child, or of a child's child.
    next: OnceLock<Box<Self>>,
}

/// Not in a box: a program that unloads the module would leave it behind.
static FIRST: OnceLock<Place> = OnceLock::new();

/// The library, for the length of one call. It outlives a C_Finalize that another thread calls meanwhile.
pub fn library() -> Result<Arc<Library>> {
    let place = existing().ok_or(NOT_INITIALIZED)?;
    let library = place.library.read().unwrap_or_else(PoisonError::into_inner);
    library.clone().ok_or(NOT_INITIALIZED)
}

/// What C_Initialize does. The signer, whose module may have loaded this one in turn (p11-kit-proxy, or another that
/// stands for several), gets an error: it would call itself.
pub fn initialize(library: Library) -> Result<()> {
    if is_signer() {
        return Err(Rv(CKR_FUNCTION_FAILED));
    }
    let mut place = own()
        .library
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    if place.is_some() {
        return Err(Rv(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    *place = Some(Arc::new(library));
    Ok(())
}

/// What C_Finalize does.
pub fn finalize() -> Result<()> {
    let place = existing().ok_or(NOT_INITIALIZED)?;
    let mut library = place
        .library
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    let library = library.take().ok_or(NOT_INITIALIZED)?;
    library.close();
    Ok(())
}

/// Whether this process runs the signer's program, by the name of its file.
fn is_signer() -> bool {
    let Ok(program) = std::env::current_exe() else {
        return false;
    };
    let name = program.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    // After an update it runs on without its file.
    name.strip_suffix(" (deleted)").unwrap_or(name) == "tedge-p11-server"
}

const NOT_INITIALIZED: Rv = Rv(CKR_CRYPTOKI_NOT_INITIALIZED);

/// This process's place, if it has one.
fn existing() -> Option<&'static Place> {
    let pid = std::process::id();
    let mut next = FIRST.get();
    while let Some(place) = next {
        if place.pid == pid {
            return Some(place);
        }
        next = place.next.get().map(|next| &**next);
    }
    None
}

/// This process's place, made at the end of the chain if need be.
fn own() -> &'static Place {
    let pid = std::process::id();
    let new = || Place {
        pid,
        library: RwLock::new(None),
        next: OnceLock::new(),
    };
    let mut place = FIRST.get_or_init(new);
    while place.pid != pid {
        place = place.next.get_or_init(|| Box::new(new()));
    }
    place
}
