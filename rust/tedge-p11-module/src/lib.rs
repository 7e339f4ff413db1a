//! `libtedge_p11.so`: a PKCS#11 module (3.0, and 2.40 for older programs) whose tokens are those behind
//! tedge-p11-server's socket.
//!
//! It holds no key, no PIN that the signer has, no thread and no connection: each call that needs the
//! signer is one request of [`tedge_p11_client`]. It has only mechanisms that hash and sign, so that the
//! signer sees the message and its policy can judge it.
//!
//! A call goes from `edge`, where C's pointers become values and a panic becomes `CKR_GENERAL_ERROR`, to
//! [`process`] (the library of this process), [`library`] (what the standard's functions do), and from
//! there to `slot`, `session`, `object` and `signer`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod attribute;
mod debug;
mod edge;
mod generate;
pub mod library;
pub mod mechanism;
pub mod object;
pub mod process;
mod public_key;
mod refusal;
mod rv;
mod session;
mod signature;
mod signer;
mod slot;
pub mod template;

pub use edge::{C_GetFunctionList, C_GetInterface, C_GetInterfaceList, TEDGE_P11_MODULE};
pub use rv::{Result, Rv};
