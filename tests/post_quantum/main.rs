//! ML-DSA keys in a token, from the key to the handshake, on Kryoptic (tests/hsm/kryoptic). openssl 3.5, which comes with
//! it, judges.

mod bridge;
mod certificates;
#[path = "../rotation/rig.rs"]
#[allow(dead_code)] // of which this uses half
mod device;
mod handshake;
mod keys;
mod renewal;
mod rig;
mod rotation;
