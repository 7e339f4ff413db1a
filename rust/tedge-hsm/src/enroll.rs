//! `enroll`: from a token to a device that its cloud knows, in steps, each recorded on the disk before it is taken. One
//! file for each cloud; the steps that all have are in `enrolment.rs`.

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod bootstrap;
mod bridge_toml;
mod certificate_file;
pub(crate) mod cloud;
mod csr_attributes;
pub(crate) mod cumulocity;
mod enrolment;
pub(crate) mod est;
mod key;
pub(crate) mod options;
mod own_toml;
mod record;
mod requests;
mod tedge_toml;
pub(crate) mod waiting;

pub use self::csr_attributes::texts as csr_attributes_texts;
pub(crate) use self::enrolment::run;
