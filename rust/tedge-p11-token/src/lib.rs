//! Keys in PKCS#11 tokens: finding them by URI (RFC 7512), signing with them for TLS, making them.
//!
//! This is the only crate that calls a PKCS#11 module. Every call blocks, some for seconds and, with
//! a broken driver, for ever: callers give them threads of their own. A [`Module`] may be shared by
//! any number of threads.

mod access;
mod back_off;
mod certificate;
mod configured_pin;
mod digest;
mod error;
mod find;
mod gate;
mod generate;
mod key;
mod manage;
mod mechanism;
mod module;
mod pin_tries;
mod public_key;
mod refused_pins;
mod security_officer;
mod seldom;
mod signature;
mod state;
mod token;
mod usage;

pub use access::{Access, Check, SignatureCheck};
pub use certificate::{Certificate, CertificateObject};
pub use error::{Absent, Error, Result, TriesLeft};
pub use find::{KeyObject, KeySelector};
pub use generate::NewKey;
pub use key::KeyInfo;
pub use manage::{NewToken, PinChange};
pub use module::Module;
pub use state::{PinState, SlotState, TlsMechanism};
pub use token::{TokenHealth, TokenInfo};
