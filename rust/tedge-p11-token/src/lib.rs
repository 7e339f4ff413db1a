//! Keys in PKCS#11 tokens: finding them by URI (RFC 7512), signing with them for TLS, making them.
//!
//! This is the only crate that calls a PKCS#11 module. Every call blocks, some for seconds and, with
//! a broken driver, for ever: callers give them threads of their own. A [`Module`] may be shared by
//! any number of threads.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod access;
mod back_off;
mod call_error;
mod certificate;
mod code;
mod digest;
mod error;
mod find;
mod gate;
mod generate;
mod installed;
mod key;
mod key_kind;
mod keys;
mod listing;
mod load_error;
mod lock;
mod manage;
mod mechanism;
mod module;
mod object;
mod pins;
mod public_key;
mod quirks;
mod recovery;
mod refusal;
mod seldom;
mod selector;
mod signature;
mod state;
mod token;
mod token_folder;
mod token_info;
mod unclear;
mod uptime;
mod usage;
mod x509;

pub use access::{Access, Check, Everything, Permit, SignatureCheck};
pub use call_error::CallError;
pub use certificate::CertificateObject;
pub use code::Code;
pub use error::{Absent, Error, Result, TriesLeft};
pub use generate::NewKey;
pub use key::KeyInfo;
pub use listing::DescribedKey;
pub use load_error::{LoadError, Said};
pub use manage::{NewToken, PinChange};
pub use module::Module;
pub use object::KeyObject;
pub use pins::{Caller, GivenPin, Giver};
pub use refusal::Refusal;
pub use selector::KeySelector;
pub use state::{PinState, SlotState, TlsMechanism};
pub use token::TokenHealth;
pub use token_folder::TokenFolderError;
pub use token_info::TokenInfo;
pub use unclear::Unclear;
pub use x509::Certificate;
