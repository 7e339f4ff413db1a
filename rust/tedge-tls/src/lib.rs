//! What our TLS clients offer: the hybrid key exchange X25519MLKEM768, which protects what is recorded today from the
//! quantum computers of tomorrow, before the classical ones.
//!
//! rustls's provider on top of ring has no ML-KEM. [`X25519MLKEM768`] adds it, and [`PostQuantum`] is the one place that
//! chooses the provider: [`PostQuantum::provider`]. Nothing here knows keys, sockets or what is sent over TLS.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod group;
mod post_quantum;

pub use group::X25519MLKEM768;
pub use post_quantum::{PostQuantum, Unknown, Unmet, got_no_answer, group_name};
