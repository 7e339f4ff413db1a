//! A device's key is replaced by a new one while the device stays connected.

mod bridge;
mod choosing;
mod killed;
mod rig;
mod steps;
mod user;
